using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>A set of pairs with a way to sum up: which subsets make a group, and how much each weighs in it.</summary>
public sealed record Benchmark
{
    private const int AlpacaPairs = 25; // of each prompt
    private const double AlpacaMargin = 0.2; // closer labels are mostly noise

    /// <summary>Names under which benchmarks are asked for.</summary>
    public static IReadOnlyList<string> Names { get; } = ["hhh", "judgebench", "rm-bench", "rewardbench", "pandalm", "alpaca-eval", "alpaca-reference", "pairs"];

    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>The pairs.</summary>
    public required IReadOnlyList<PreferencePair> Pairs { get; init; }

    /// <summary>What of the file is not among the pairs; null where every example is.</summary>
    public DataCounts? Counts { get; init; }

    /// <summary>The group of a subset; the macro mean runs over groups.</summary>
    public Func<string, string> Group { get; init; } = subset => subset;

    /// <summary>Weight of a subset within its group; null for its number of pairs.</summary>
    public Func<string, double?> Weight { get; init; } = _ => null;

    /// <summary>Reads a benchmark's file in its published form.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="path">The file (<see cref="DataFile"/>); for AlpacaEval the folder with its three files, of whose held-out prompts pairs are drawn.</param>
    /// <exception cref="DataException">The file is not in that form; says what is wrong.</exception>
    public static Benchmark Read(string name, string path)
    {
        DataCounts counts = new();
        IReadOnlyList<PreferencePair>? read = name switch
        {
            "pairs" => [.. PreferenceData.Pairs(path, counts)],
            "pandalm" => [.. PandaLm.Pairs(path, counts)],
            "alpaca-eval" => AlpacaEval.Open(path).Pairs(AlpacaSplit.Test, AlpacaPairs, AlpacaMargin, seed: 0),
            "alpaca-reference" => AlpacaEval.Open(path).ReferencePairs(AlpacaSplit.Test, AlpacaPairs, AlpacaMargin, seed: 0),
            _ => null,
        };
        if (read is not null)
            return read.Count > 0 ? new Benchmark { Name = name, Pairs = read, Counts = counts.Read > 0 ? counts : null } : throw new DataException($"{path} holds no example to judge ({counts}).");
        List<Row> rows = [.. DataFile.Read(path)];
        if (rows.Count == 0)
            throw new DataException($"{path} holds no example.");
        return name switch
        {
            "rm-bench" => new Benchmark { Name = name, Pairs = [.. rows.SelectMany(StylePairs)], Group = subset => subset.Split('/')[0] },
            // JudgeBench names sources such as mmlu-pro-law within its four groups.
            "judgebench" => new Benchmark { Name = name, Pairs = ReadPairs(rows, path, name, subset => JudgeGroup(subset) is not null), Group = subset => JudgeGroup(subset) ?? subset },
            "rewardbench" => new Benchmark { Name = name, Pairs = ReadPairs(rows, path, name, subset => RewardBench.Weight(subset) is not null), Group = RewardBench.Section, Weight = RewardBench.Weight },
            "hhh" => new Benchmark { Name = name, Pairs = ReadPairs(rows, path, name, subset => subset is "harmless" or "helpful" or "honest" or "other") },
            _ => throw new ArgumentException($"'{name}' is no benchmark; there are {string.Join(", ", Names)}."),
        };
    }

    private static string? JudgeGroup(string subset) =>
        subset.StartsWith("mmlu", StringComparison.Ordinal) ? "knowledge"
        : subset.StartsWith("livebench-", StringComparison.Ordinal) ? subset["livebench-".Length..]
        : subset.StartsWith("livecodebench", StringComparison.Ordinal) ? "coding" : null;

    /// <summary>Pairs, of which at least one is in a published subset: another benchmark's figures would bear this one's name.</summary>
    private static IReadOnlyList<PreferencePair> ReadPairs(List<Row> rows, string path, string name, Func<string, bool> published)
    {
        IReadOnlyList<PreferencePair> pairs = [.. rows.Select(row =>
        {
            IReadOnlyList<Message> prompt = row.WithImages(row.Messages("prompt"), path);
            return new PreferencePair { Prompt = prompt, Chosen = Answer(row, "chosen"), Rejected = Answer(row, "rejected"), Subset = row.Name("subset"), Cluster = PreferencePair.ClusterOf(prompt) };
        })];
        return pairs.Any(pair => published(pair.Subset)) ? pairs
            : throw new DataException($"{path} has no subset of {name}, but {string.Join(", ", pairs.Select(pair => $"'{pair.Subset}'").Distinct().Take(5))}; a file of any pairs is judged as 'pairs'.");
    }

    /// <summary>RM-Bench: three styles of each side (plain, detailed, with markup) make nine pairs; chosen plainer than rejected is hard.</summary>
    private static IEnumerable<PreferencePair> StylePairs(Row row)
    {
        IReadOnlyList<string> chosen = row.Texts("chosen"), rejected = row.Texts("rejected");
        if (chosen.Count != 3 || rejected.Count != 3)
            throw row.Wrong("chosen", "and 'rejected' must hold three styles each");
        IReadOnlyList<Message> prompt = row.Messages("prompt");
        string domain = row.Has("subset") ? row.Name("subset") : row.Name("domain");
        return from better in Enumerable.Range(0, 3)
               from worse in Enumerable.Range(0, 3)
               select new PreferencePair
               {
                   Prompt = prompt,
                   Chosen = chosen[better],
                   Rejected = rejected[worse],
                   Subset = $"{domain.Split('-')[0]}/{(better < worse ? "hard" : better == worse ? "normal" : "easy")}",
                   Cluster = PreferencePair.ClusterOf(prompt),
               };
    }

    private static string Answer(Row row, string field) => row.Messages(field) switch
    {
        [.., { } last] => last.Content,
        _ => throw row.Wrong(field, "is empty"),
    };
}
