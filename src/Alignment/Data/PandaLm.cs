using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>PandaLM's test set: three annotators' votes on two answers. The majority's answer is chosen; the margin is its lead, as a share of all votes.</summary>
public static class PandaLm
{
    /// <summary>The pairs; those that no answer leads are dropped and counted.</summary>
    /// <exception cref="DataException">An example is wrong, or the file is broken.</exception>
    public static IEnumerable<PreferencePair> Pairs(string path, DataCounts counts)
    {
        foreach (Row row in DataFile.Read(path))
        {
            counts.Add();
            IReadOnlyList<double> votes = row.Numbers("votes");
            if (votes.Count == 0 || votes.Any(vote => vote is not (0 or 1 or 2)))
                throw row.Wrong("votes", "must hold 0 (a tie), 1 or 2");
            double lead = (votes.Count(vote => vote == 1) - votes.Count(vote => vote == 2)) / (double)votes.Count;
            string first = Answer(row, "response1"), second = Answer(row, "response2"), input = row.Name("input");
            string? reason = lead == 0 ? "ties" : first == second ? "equal answers" : string.IsNullOrWhiteSpace(first) || string.IsNullOrWhiteSpace(second) ? "empty answers" : null;
            if (reason is not null)
            {
                counts.Drop(reason);
                continue;
            }
            IReadOnlyList<Message> prompt = Message.Question(input.Length > 0 ? $"{row.Text("instruction")}\n{input}" : row.Text("instruction"));
            yield return new PreferencePair
            {
                Prompt = prompt,
                Chosen = lead > 0 ? first : second,
                Rejected = lead > 0 ? second : first,
                Margin = Math.Abs(lead),
                Cluster = PreferencePair.ClusterOf(prompt),
            };
        }
    }

    // The published file holds answers that are numbers as numbers.
    private static string Answer(Row row, string field) => row.Has(field) ? row.Name(field) : row.Text(field);
}
