using System.CommandLine;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Running;
using XDeepServe.Training.Transport;

namespace XDeepServe.Training;

/// <summary><c>xds-train select</c>: what <c>xds select --method ot</c> does, on a GPU.</summary>
internal sealed class SelectCommand : Command
{
    private const long Gibibyte = 1L << 30;

    private readonly Option<FileInfo> candidates = new("--candidates") { Description = "Feature file of the pairs to select from.", Required = true };
    private readonly Option<FileInfo> targets = new("--targets") { Description = "Feature file of the pairs that they are to be like.", Required = true };
    private readonly Option<int> keep = new("--keep") { Description = "How many to keep.", Required = true };
    private readonly Option<FileInfo?> pairs = new("--pairs") { Description = "The candidates (JSON lines, an array or Parquet), in the features' order; those selected are written to --out as JSON lines, the best first." };
    private readonly Option<FileInfo?> output = new("--out") { Description = "Where they go." };
    private readonly Option<FileInfo> report = new("--report") { Description = "Where what was found is written as JSON: the rows kept, the best first, and what vouches for the plan.", Required = true };
    private readonly Option<FileInfo?> scores = new("--scores") { Description = "Write all scores as CSV." };
    private readonly Option<FileInfo?> plot = new("--plot") { Description = "Draw how the scores lie and how the plan's error fell, as SVG." };
    private readonly Option<double> regularisation = new("--regularisation") { Description = "As a share of the mean cost.", DefaultValueFactory = _ => new SinkhornSettings().Regularisation };
    private readonly Option<int> memory = new("--memory") { Description = "GiB of distances to hold; what does not fit is computed again in each pass.", DefaultValueFactory = _ => 4 };
    private readonly Option<string> device = new("--device") { Description = "auto, cpu or cuda.", DefaultValueFactory = _ => "auto" };
    private readonly Option<string> libtorch = new("--libtorch") { Description = "Folder of a libtorch to use in place of the one beside xds-train.", DefaultValueFactory = _ => "" };

    public SelectCommand() : base("select", "Selects preference pairs by entropic transport between gradient features, on a GPU where there is one.")
    {
        device.AcceptOnlyFromAmong("auto", "cpu", "cuda");
        foreach (Option option in new Option[] { candidates, targets, keep, pairs, output, report, scores, plot, regularisation, memory, device, libtorch })
            Options.Add(option);
        Validators.Add(result =>
        {
            if (result.GetValue(pairs) is null != result.GetValue(output) is null)
                result.AddError("Give --pairs and --out together.");
        });
        SetAction((parsed, _) => Task.Run(() =>
        {
            using Interruption interruption = new(untilEof: false);
            return Run(parsed, interruption.Stop);
        }, CancellationToken.None));
    }

    private int Run(ParseResult result, CancellationToken cancel)
    {
        if (result.GetValue(keep) < 1 || result.GetValue(memory) < 0 || result.GetValue(regularisation) is not (> 0 and < double.PositiveInfinity))
            throw new TrainingException("--keep must be at least 1, --memory not negative, --regularisation greater than 0.");
        Torch.Load(result.GetValue(libtorch)!);
        using FeatureFile from = FeatureFile.Open(result.GetValue(candidates)!.FullName), to = FeatureFile.Open(result.GetValue(targets)!.FullName);
        SelectionSettings settings = new() { Keep = result.GetValue(keep), Memory = result.GetValue(memory) * Gibibyte, Sinkhorn = new SinkhornSettings { Regularisation = result.GetValue(regularisation) } };
        SelectionReport found;
        try
        {
            found = DeviceSelection.Select(from, to, settings, result.GetValue(device)!, cancel);
        }
        catch (OperationCanceledException)
        {
            return 130;
        }
        if (result.GetValue(pairs) is { } source)
            found.WritePairs(source.FullName, result.GetValue(output)!.FullName);
        found.WriteJson(result.GetValue(report)!.FullName);
        if (result.GetValue(scores) is { } table)
            found.WriteCsv(table.FullName);
        if (result.GetValue(plot) is { } picture)
            SelectionPlot.Write(picture.FullName, found);
        Console.WriteLine($"kept {found.Kept.Length} of {found.Candidates}; transport: {found.Plan!.Account}");
        return 0;
    }
}
