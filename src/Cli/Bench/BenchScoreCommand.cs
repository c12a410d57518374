using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench score</c>: pairs a second of a judge, with the prompts' common beginnings shared and without, in turns.</summary>
internal sealed class BenchScoreCommand : Command
{
    private readonly EngineFlags flags;
    private readonly Option<string> input = new("--input") { Description = "Prompts with their responses, or preference pairs, in any form that trainers know.", Required = true };
    private readonly Option<int> prompts = new("--num-prompts") { Description = "Most prompts.", DefaultValueFactory = _ => 32 };
    private readonly Option<int> responses = new("--responses") { Description = "Responses of each prompt, every one of which meets every other.", DefaultValueFactory = _ => 2 };
    private readonly Option<int> atOnce = new("--batch-size") { Description = "Pairs at once; each is read in both orders.", DefaultValueFactory = _ => 32 };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Turns of each; medians count.", DefaultValueFactory = _ => 3 };

    public BenchScoreCommand() : base("score", "Measures how fast a judge scores pairs.")
    {
        flags = new EngineFlags(this);
        foreach (Option option in new Option[] { input, prompts, responses, atOnce, rounds })
            Options.Add(option);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = flags.Read(result);
        if (settings.SkipTokenizer)
            throw new ArgumentException("Judges read text: leave --skip-tokenizer-init out.");
        using LoadedEngine shared = LoadedEngine.Open(settings with { Engine = settings.Engine with { PrefixCaching = true } });
        using LoadedEngine alone = LoadedEngine.Open(settings with { Engine = settings.Engine with { PrefixCaching = false } });
        Pair[] pairs = Read(shared, result);
        await TurnAsync(shared, [.. pairs.Take(8)], result.GetValue(atOnce), cancel); // warms up
        await TurnAsync(alone, [.. pairs.Take(8)], result.GetValue(atOnce), cancel);
        List<double> with = [], without = [];
        double worst = 0;
        EngineMetrics metrics = shared.Shell.Metrics[0];
        (long queries, long hits) = (metrics.PrefixQueries, metrics.PrefixHits);
        for (int round = 0; round < result.GetValue(rounds); round++)
        {
            (double speed, double[] verdicts) = await TurnAsync(shared, pairs, result.GetValue(atOnce), cancel);
            with.Add(speed);
            (speed, double[] expected) = await TurnAsync(alone, pairs, result.GetValue(atOnce), cancel);
            without.Add(speed);
            worst = Math.Max(worst, verdicts.Zip(expected, (one, other) => Math.Abs(one - other)).Max());
        }
        (double fast, double slow) = (new Summary(with).Median, new Summary(without).Median);
        double cached = (double)(metrics.PrefixHits - hits) / Math.Max(1, metrics.PrefixQueries - queries);
        Line($"{settings.Name}: {pairs.Length} pairs of {result.GetValue(responses)} responses each to {pairs.Select(pair => pair.Set).Distinct().Count()} prompts, both orders, {result.GetValue(atOnce)} at once; {shared.Backend.Description}\n");
        Line($"| responses | tokens of a prompt | pairs/s shared | alone | ratio | prompt tokens from the cache | largest difference of a probability |\n|---:|---:|---:|---:|---:|---:|---:|");
        Line($"| {result.GetValue(responses)} | {(metrics.PrefixQueries - queries) / (2.0 * pairs.Length * result.GetValue(rounds)):F0} | {fast:F2} | {slow:F2} | {fast / slow:F2} | {cached:P1} | {worst:E1} |");
        return 0;
        static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    private Pair[] Read(LoadedEngine loaded, ParseResult result)
    {
        int count = result.GetValue(responses);
        if (count < 2 || result.GetValue(prompts) < 1 || result.GetValue(rounds) < 1 || result.GetValue(atOnce) < 1)
            throw new ArgumentException("--responses is at least 2, and --num-prompts, --num-iters and --batch-size at least 1.");
        PromptWriter writer = Writer(loaded);
        JudgePrompt judge = new();
        IEnumerable<ResponseSet> sets = PreferenceData.Unlabelled(result.GetValue(input)!, new DataCounts()).Where(set => set.Responses.Count >= count);
        // Only what fits: a refused pair would look fast.
        Pair[] pairs = [.. sets.Select(set => set with { Responses = [.. set.Responses.Take(count)] }).Where(Fits).Take(result.GetValue(prompts)).SelectMany((set, number) =>
            from first in Enumerable.Range(0, count)
            from second in Enumerable.Range(first + 1, count - first - 1)
            select new Pair(number, set.Prompt, set.Responses[first], set.Responses[second]))];
        return pairs.Length > 0 ? pairs : throw new DataException($"{result.GetValue(input)} holds no prompt with {count} responses that fit the model.");

        bool Fits(ResponseSet set)
        {
            string[] longest = [.. set.Responses.OrderByDescending(text => writer.Tokenizer.Encode(text).Length).Take(2)];
            return writer.Encode(judge.Write(set.Prompt, longest[0], longest[1]), opensAnswer: true).Length < loaded.Model.MaxLength - 8;
        }
    }

    private static PromptWriter Writer(LoadedEngine loaded)
    {
        Tokenizer tokenizer = loaded.Tokenizer!;
        return new PromptWriter(tokenizer, tokenizer.CreateTemplate());
    }

    /// <summary>Judges all pairs, so many at once, from an empty cache; pairs a second.</summary>
    private static async Task<(double Speed, double[] Verdicts)> TurnAsync(LoadedEngine loaded, Pair[] pairs, int atOnce, CancellationToken cancel)
    {
        await loaded.Shell.ResetPrefixCacheAsync();
        using PromptReader reader = new(loaded.Shell);
        GenerativeRewardModel judge = new(reader, Writer(loaded), new JudgePrompt());
        double[] verdicts = new double[pairs.Length];
        long start = Stopwatch.GetTimestamp();
        await Parallel.ForEachAsync(Enumerable.Range(0, pairs.Length), new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancel }, async (index, token) =>
            verdicts[index] = (await judge.CompareAsync(pairs[index].Prompt, pairs[index].First, pairs[index].Second, token)).FirstIsBetter);
        return (pairs.Length / Stopwatch.GetElapsedTime(start).TotalSeconds, verdicts);
    }

    private sealed record Pair(int Set, IReadOnlyList<Message> Prompt, string First, string Second);
}
