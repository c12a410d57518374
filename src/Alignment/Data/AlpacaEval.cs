using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>
/// AlpacaEval's answers of many generators to the same prompts, with a judge's probability that each beats one reference. A pair is
/// two generators' answers, ordered by these probabilities, so that recognising the reference's style wins nothing.
/// </summary>
public sealed class AlpacaEval
{
    private const string Reference = "gpt4_1106_preview";

    private readonly string folder;
    private readonly Dictionary<int, (string Text, string Source)> prompts = [];

    private AlpacaEval(string folder) => this.folder = folder;

    /// <summary>Opens a folder with <c>alpaca_eval.prompts.jsonl.gz</c>, <c>alpaca_eval.judgments.jsonl.gz</c> and <c>alpaca_eval.responses.jsonl.gz</c>.</summary>
    /// <exception cref="DataException">A file is broken.</exception>
    /// <exception cref="IOException">A file is missing.</exception>
    public static AlpacaEval Open(string folder)
    {
        AlpacaEval set = new(folder);
        foreach (Row row in DataFile.Read(set.File("prompts")))
            set.prompts[row.Integer("id")] = (row.Text("prompt"), row.Text("dataset"));
        return set;
    }

    /// <summary>The split that a prompt belongs to.</summary>
    /// <param name="id">The prompt's.</param>
    /// <param name="source">Where it comes from.</param>
    public static AlpacaSplit SplitOf(int id, string source) =>
        id % 20 == 0 ? AlpacaSplit.Test : source is "helpful_base" or "vicuna" ? AlpacaSplit.Validation : AlpacaSplit.Train;

    /// <summary>Pairs of two generators' answers; the margin is the difference of their probabilities to beat the reference.</summary>
    /// <param name="split">Which prompts.</param>
    /// <param name="perPrompt">Pairs drawn for each prompt; fewer where there are not as many.</param>
    /// <param name="leastMargin">Pairs that differ by less are not drawn; over 0.</param>
    /// <param name="seed">The same seed draws the same pairs, whatever other prompts there are.</param>
    public IReadOnlyList<PreferencePair> Pairs(AlpacaSplit split, int perPrompt, double leastMargin, int seed) =>
        Draw(split, perPrompt, leastMargin, seed, withReference: false);

    /// <summary>
    /// Pairs of the reference's answer and another's; half is the probability that the reference beats itself. The reference wins nearly
    /// always: a model that knows its style does well here, so these are reported apart.
    /// </summary>
    /// <inheritdoc cref="Pairs"/>
    public IReadOnlyList<PreferencePair> ReferencePairs(AlpacaSplit split, int perPrompt, double leastMargin, int seed) =>
        Draw(split, perPrompt, leastMargin, seed, withReference: true);

    /// <summary>The judged answers to each prompt, best first, each with its probability to beat the reference.</summary>
    /// <param name="split">Which prompts.</param>
    /// <param name="withTies">Whether answers with equal probabilities are all there, as best of n wants them; else the first of them, as Plackett-Luce does.</param>
    public IEnumerable<ResponseSet> Rankings(AlpacaSplit split, bool withTies = false)
    {
        foreach ((int prompt, List<Judged> all) in Judgments(split))
        {
            Judged[] ranked = [.. all.OrderByDescending(one => one.Share).DistinctBy(one => one.Text)];
            if (!withTies)
                ranked = [.. ranked.DistinctBy(one => one.Share)];
            if (ranked.Length >= 2)
                yield return Set(prompt, [.. ranked.Select(one => one.Text)]) with { Scores = [.. ranked.Select(one => one.Share)] };
        }
    }

    /// <summary>All answers to each prompt, judged or not, without labels. Answers to one prompt must stand together in the file.</summary>
    public IEnumerable<ResponseSet> Unlabelled(AlpacaSplit split)
    {
        int current = -1;
        HashSet<string> texts = [];
        foreach (Row row in DataFile.Read(File("responses")))
        {
            int prompt = row.Integer("prompt");
            if (prompt != current)
            {
                if (texts.Count >= 2)
                    yield return Set(current, [.. texts]);
                (current, texts) = (prompt, []);
            }
            if (Belongs(prompt, split) && row.Text("text") is { } text && !string.IsNullOrWhiteSpace(text))
                texts.Add(text);
        }
        if (texts.Count >= 2)
            yield return Set(current, [.. texts]);
    }

    private List<PreferencePair> Draw(AlpacaSplit split, int perPrompt, double leastMargin, int seed, bool withReference)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(perPrompt, 1);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(leastMargin);
        List<PreferencePair> pairs = [];
        foreach ((int prompt, List<Judged> all) in Judgments(split, withReference))
        {
            (Judged, Judged)[] candidates =
            [
                .. from first in Enumerable.Range(0, all.Count)
                   from second in Enumerable.Range(first + 1, all.Count - first - 1)
                   let one = all[first]
                   let other = all[second]
                   where Math.Abs(one.Share - other.Share) >= leastMargin && one.Text != other.Text
                   where !withReference || one.Generator == Reference || other.Generator == Reference
                   select one.Share > other.Share ? (one, other) : (other, one),
            ];
            new Random(unchecked(seed * 1_000_003 + prompt)).Shuffle(candidates);
            foreach ((Judged better, Judged worse) in candidates.Take(perPrompt))
            {
                pairs.Add(new PreferencePair
                {
                    Prompt = Message.Question(prompts[prompt].Text),
                    Chosen = better.Text,
                    Rejected = worse.Text,
                    Margin = better.Share - worse.Share,
                    Subset = !withReference ? prompts[prompt].Source : better.Generator == Reference ? "reference wins" : "reference loses",
                    Cluster = $"{prompt}",
                });
            }
        }
        return pairs;
    }

    // The judged answers of each prompt, in alphabetical order of their generators, so that nothing depends on the files' order.
    private List<(int Prompt, List<Judged> Answers)> Judgments(AlpacaSplit split, bool withReference = false)
    {
        Dictionary<(int Prompt, string Generator), double> shares = [];
        foreach (Row row in DataFile.Read(File("judgments")))
        {
            int prompt = row.Integer("prompt");
            if (!Belongs(prompt, split))
                continue;
            shares[(prompt, row.Text("b"))] = row.Number("p_b") ?? throw row.Wrong("p_b", "is missing");
            if (withReference)
                shares[(prompt, Reference)] = 0.5;
        }
        List<(int Prompt, Judged Answer)> answers = [];
        foreach (Row row in DataFile.Read(File("responses")))
        {
            (int prompt, string generator) = (row.Integer("prompt"), row.Text("generator"));
            if (shares.TryGetValue((prompt, generator), out double share) && row.Text("text") is { } text && !string.IsNullOrWhiteSpace(text))
                answers.Add((prompt, new Judged(generator, text, share)));
        }
        return [.. answers.GroupBy(one => one.Prompt).OrderBy(group => group.Key).Select(group => (group.Key, group.Select(one => one.Answer).OrderBy(one => one.Generator, StringComparer.Ordinal).ToList()))];
    }

    private bool Belongs(int prompt, AlpacaSplit split) => prompts.TryGetValue(prompt, out (string Text, string Source) known) && SplitOf(prompt, known.Source) == split;

    private ResponseSet Set(int prompt, IReadOnlyList<string> responses) =>
        new() { Prompt = Message.Question(prompts[prompt].Text), Responses = responses, Subset = prompts[prompt].Source, Cluster = $"{prompt}" };

    private string File(string name) => Path.Combine(folder, $"alpaca_eval.{name}.jsonl.gz");

    private sealed record Judged(string Generator, string Text, double Share);
}
