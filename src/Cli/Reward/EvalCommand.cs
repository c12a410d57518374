using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds eval</c>: how often a reward model agrees with a benchmark.</summary>
internal sealed class EvalCommand : Command
{
    private const string BestOf = "best-of-n";

    private readonly Argument<string> benchmark = new("benchmark") { Description = $"One of {string.Join(", ", Benchmark.Names)}; or '{BestOf}': the merit of the answer that is picked from ranked ones (a file with prompt, responses and scores, or AlpacaEval's folder)." };
    private readonly Argument<string> file = new("file") { Description = "The benchmark's file in its published form (.gz is read too); for 'alpaca-eval' (pairs of generators on held-out prompts) and 'alpaca-reference' (pairs with the reference) the folder of its files; for 'pairs' preference pairs in any form that trainers know." };
    private readonly Option<int> limit = new("--limit") { Description = "Pairs (for best-of-n prompts) at most, spread evenly; 0 for all." };
    private readonly Option<int> draws = new("--draws") { Description = "For best-of-n: draws of answers for each prompt.", DefaultValueFactory = _ => 1 };
    private readonly Option<string> tournament = RewardFlags.TournamentFlag();
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON object." };
    private readonly RewardFlags reward;

    public EvalCommand() : base("eval", "Measures a reward model on a benchmark of preference pairs.")
    {
        benchmark.AcceptOnlyFromAmong([.. Benchmark.Names, BestOf]);
        Arguments.Add(benchmark);
        Arguments.Add(file);
        Options.Add(limit);
        Options.Add(draws);
        Options.Add(tournament);
        Options.Add(json);
        reward = new RewardFlags(this);
        Validators.Add(result =>
        {
            if (result.GetValue(limit) < 0)
                result.AddError("--limit must not be negative.");
        });
        SetAction((result, cancel) => RunAsync(result));
    }

    private Task<int> RunAsync(ParseResult result)
    {
        if (result.GetValue(benchmark) == BestOf)
            return BestOfNAsync(result);
        Benchmark set = Benchmark.Read(result.GetValue(benchmark)!, result.GetValue(file)!);
        if (set.Counts is { Dropped.Count: > 0 } counts)
            Console.Error.WriteLine($"{set.Name}: {counts}");
        set = set with { Pairs = Limited(set.Pairs, result.GetValue(limit)) };
        return reward.UseAsync(result, async (model, cancel) =>
        {
            Report report = Report.Of(set, await new Evaluator(model).RunAsync(set.Pairs, cancel: cancel));
            if (result.GetValue(json))
                Console.WriteLine(JsonSerializer.Serialize(Fields(report)));
            else
                Print(report);
            return 0;
        });
    }

    private Task<int> BestOfNAsync(ParseResult result)
    {
        if (result.GetValue(draws) < 1)
            throw new ArgumentException("--draws is at least 1.");
        IReadOnlyList<ResponseSet> sets = Limited(BestOfNReport.Read(result.GetValue(file)!), result.GetValue(limit));
        return reward.UseAsync(result, async (model, cancel) =>
        {
            await BestOfNReport.PrintAsync(model, RewardFlags.ReadTournament(result, tournament), sets, result.GetValue(draws), result.GetValue(json), cancel);
            return 0;
        });
    }

    /// <summary>So many of them, spread evenly; 0 for all.</summary>
    internal static IReadOnlyList<T> Limited<T>(IReadOnlyList<T> all, int most) =>
        most > 0 && most < all.Count ? [.. Enumerable.Range(0, most).Select(index => all[(int)((long)index * all.Count / most)])] : all;

    private static void Print(Report report)
    {
        Line($"{report.Benchmark}: {report.Pairs} pairs{(report.TooLong > 0 ? $" ({report.TooLong} too long for the model: counted as ties)" : "")}");
        Line($"  accuracy (micro)       {report.Micro.Mean:P1}  [{report.Micro.Low:P1}, {report.Micro.High:P1}]");
        Line($"  accuracy (macro)       {report.Macro.Mean:P1}  [{report.Macro.Low:P1}, {report.Macro.High:P1}]");
        Line($"  both orders agree      {report.Consistency:P1}");
        Line($"  longer answer wins     {report.LengthOnly:P1}");
        if (report.LengthBalanced is { } balanced)
            Line($"  length-balanced        {balanced.Mean:P1}  [{balanced.Low:P1}, {balanced.High:P1}]");
        foreach ((string name, int pairs, double accuracy) in report.Groups)
            Line($"    {(name.Length > 0 ? name : "all"),-28} {accuracy:P1}  ({pairs})");
        static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    private static object Fields(Report report) => new
    {
        benchmark = report.Benchmark,
        pairs = report.Pairs,
        too_long = report.TooLong,
        micro = report.Micro.Mean,
        micro_interval = new[] { report.Micro.Low, report.Micro.High },
        macro = report.Macro.Mean,
        macro_interval = new[] { report.Macro.Low, report.Macro.High },
        consistency = report.Consistency,
        length_only = report.LengthOnly,
        length_balanced = report.LengthBalanced?.Mean,
        groups = report.Groups.ToDictionary(group => group.Name, group => group.Accuracy),
        subsets = report.Subsets.ToDictionary(subset => subset.Name, subset => subset.Accuracy),
    };
}
