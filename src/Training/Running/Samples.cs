using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Training.Running;

/// <summary>
/// Best-of-n over a file of questions with drawn answers: <c>prompt</c>, <c>responses</c>, and lists of numbers about each response, such as
/// <c>coverage</c> and <c>hallucination</c>. What the model picks is told in the file's own numbers.
/// </summary>
public static class Samples
{
    /// <summary>Picks the best answer to each question.</summary>
    /// <param name="path">The file.</param>
    /// <param name="judge">Compares answers.</param>
    /// <returns>For each list of numbers its mean over all responses and over those picked.</returns>
    /// <exception cref="DataException">A question has fewer than two answers, or a list of another length.</exception>
    public static IReadOnlyDictionary<string, (double All, double Picked)> Pick(string path, Judge judge)
    {
        List<(Row Row, IReadOnlyList<string> Responses, Range Pairs)> questions = [];
        List<PreferencePair> pairs = [];
        foreach (Row row in DataFile.Read(path))
        {
            IReadOnlyList<string> responses = row.Texts("responses");
            if (responses.Count < 2)
                throw row.Wrong("responses", "must hold at least two");
            IReadOnlyList<Message> prompt = row.WithImages(row.Messages("prompt"), path);
            questions.Add((row, responses, pairs.Count..(pairs.Count + responses.Count - 1)));
            pairs.AddRange(responses.Skip(1).Select(response => new PreferencePair { Prompt = prompt, Chosen = response, Rejected = responses[0] }));
        }
        IReadOnlyList<Verdict> verdicts = judge.Run(pairs);
        Dictionary<string, (double All, double Picked)> means = [];
        foreach ((Row row, IReadOnlyList<string> responses, Range range) in questions)
        {
            // Each against the first, which is as good as itself.
            double[] chances = [0.5, .. Enumerable.Range(range.Start.Value, responses.Count - 1).Select(pair => verdicts[pair].ChosenIsBetter ?? 0)];
            int best = Array.IndexOf(chances, chances.Max());
            foreach (string name in row.Names.Where(name => row.Required(name) is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Number)))
            {
                IReadOnlyList<double> values = row.Numbers(name);
                if (values.Count != responses.Count)
                    throw row.Wrong(name, $"holds {values.Count} numbers for {responses.Count} responses");
                (double all, double picked) = means.GetValueOrDefault(name);
                means[name] = (all + (values.Average() / questions.Count), picked + (values[best] / questions.Count));
            }
        }
        return means;
    }
}
