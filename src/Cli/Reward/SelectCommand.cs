using System.CommandLine;
using System.Globalization;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds select</c>: the preference pairs that teach what others teach.</summary>
internal sealed class SelectCommand : Command
{
    private const long Gibibyte = 1L << 30;

    private readonly Option<string> method = EngineFlags.Choice(
        "--method", "How candidates are scored. Of gradients: 'ot' (entropic transport between the sets), 'distance' (mean distance: transport between points), 'less' (mean cosine). Of representations: 'pds' (mean cosine), 'pds-centroid', 'pds-max'. 'random' or 'all' (baselines).",
        "ot", "ot", "distance", "less", "pds", "pds-centroid", "pds-max", "random", "all");
    private readonly Option<string> candidates = new("--candidates") { Description = "Feature file of the pairs to select from.", Required = true };
    private readonly Option<string> targets = new("--targets") { Description = "Feature file of the pairs that they are to be like.", Required = true };
    private readonly Option<int> keep = new("--keep") { Description = "How many to keep.", Required = true };
    private readonly Option<string?> pairs = new("--pairs") { Description = "The candidates (JSON lines, an array or Parquet), in the features' order; those selected are written to --out as JSON lines, the best first." };
    private readonly Option<string?> output = new("--out") { Description = "Where they go." };
    private readonly Option<string?> report = new("--report") { Description = "Write what was found as JSON." };
    private readonly Option<string?> scores = new("--scores") { Description = "Write all scores as CSV." };
    private readonly Option<string?> plot = new("--plot") { Description = "Draw how the scores lie and how the plan's error fell, as SVG." };
    private readonly Option<double> regularisation = new("--regularisation") { Description = "Of entropic transport, as a share of the mean cost.", DefaultValueFactory = _ => new SinkhornSettings().Regularisation };
    private readonly Option<double> tolerance = new("--tolerance") { Description = "Relative L1 error of the marginals at which it stops.", DefaultValueFactory = _ => new SinkhornSettings().Tolerance };
    private readonly Option<int> passes = new("--passes") { Description = "Passes over the costs at most.", DefaultValueFactory = _ => new SinkhornSettings().MostPasses };
    private readonly Option<int> memory = new("--memory") { Description = "GiB of distances to hold; what does not fit is computed again in each pass.", DefaultValueFactory = _ => 4 };
    private readonly Option<int> threads = new("--threads") { Description = "Threads (0: all cores)." };
    private readonly Option<ulong> seed = new("--seed") { Description = "For 'random'." };

    public SelectCommand() : base("select", "Selects preference pairs by their features (gradients, or what xds represent wrote): those that teach what the target pairs teach.")
    {
        foreach (Option option in new Option[] { method, candidates, targets, keep, pairs, output, report, scores, plot, regularisation, tolerance, passes, memory, threads, seed })
            Options.Add(option);
        Validators.Add(result =>
        {
            if (result.GetValue(pairs) is null != result.GetValue(output) is null)
                result.AddError("Give --pairs and --out together.");
            if (result.GetValue(keep) < 1)
                result.AddError("--keep must be at least 1.");
        });
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        // Here, as validators do not see defaults.
        if (result.GetValue(regularisation) is not (> 0 and < double.PositiveInfinity) || result.GetValue(tolerance) is not > 0)
            throw new ArgumentException("--regularisation and --tolerance must be greater than 0.");
        if (result.GetValue(passes) < 1 || result.GetValue(memory) < 0 || result.GetValue(threads) < 0)
            throw new ArgumentException("--passes must be at least 1, --memory and --threads not negative.");
        using Interruption interruption = new();
        using FeatureFile from = FeatureFile.Open(result.GetValue(candidates)!), to = FeatureFile.Open(result.GetValue(targets)!);
        SelectionReport found = Selector.Select(from, to, Settings(result), cancel: interruption.Stop);
        if (result.GetValue(pairs) is { } source)
            found.WritePairs(source, result.GetValue(output)!);
        if (result.GetValue(report) is { } json)
            found.WriteJson(json);
        if (result.GetValue(scores) is { } table)
            found.WriteCsv(table);
        if (result.GetValue(plot) is { } picture)
            SelectionPlot.Write(picture, found);
        Line($"kept {found.Kept.Length} of {found.Candidates} by {result.GetValue(method)}: mean score {found.Kept.Average(row => found.Scores[row]):F4}, of all {found.Scores.Average():F4} ({(found.LowerIsBetter ? "lower" : "higher")} is better)");
        if (found.Plan is { } plan)
            Console.WriteLine($"transport: {plan.Account}");
        return 0;
        static void Line(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    private SelectionSettings Settings(ParseResult result) => new()
    {
        Method = result.GetValue(method) switch
        {
            "distance" => SelectionMethod.Distance,
            "less" => SelectionMethod.Less,
            "pds" => SelectionMethod.Preference,
            "pds-centroid" => SelectionMethod.Centroid,
            "pds-max" => SelectionMethod.Nearest,
            "random" => SelectionMethod.Random,
            "all" => SelectionMethod.All,
            _ => SelectionMethod.Transport,
        },
        Keep = result.GetValue(keep),
        Seed = result.GetValue(seed),
        Memory = result.GetValue(memory) * Gibibyte,
        Sinkhorn = new SinkhornSettings
        {
            Regularisation = result.GetValue(regularisation),
            Tolerance = result.GetValue(tolerance),
            MostPasses = result.GetValue(passes),
            Threads = result.GetValue(threads) is > 0 and { } given ? given : Environment.ProcessorCount,
        },
    };
}
