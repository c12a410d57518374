using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Margins;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds margin</c>: by how much chosen answers are better, learnt from a few labelled pairs.</summary>
internal sealed class MarginCommand : Command
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Option<string> features = new("--features") { Description = "The pairs' features, as xds represent wrote them.", Required = true };
    private readonly Option<string> pairs = new("--pairs") { Description = "The pairs, in the features' order.", Required = true };
    private readonly Option<string?> predictor = new("--predictor") { Description = "Predict with this, which xds margin wrote, instead of fitting." };
    private readonly Option<string> method = EngineFlags.Choice("--method", "What is fitted: 'ridge' (closed form) or 'mlp' (one hidden layer).", "ridge", "ridge", "mlp");
    private readonly Option<string?> output = new("--out") { Description = "Where the fitted predictor goes (JSON), or, with --predictor, the pairs with their margins (JSON lines)." };
    private readonly Option<int> seed = new("--seed") { Description = "For 'mlp'.", DefaultValueFactory = _ => 1 };
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON object." };

    public MarginCommand() : base("margin", "Fits a predictor of preference margins to labelled pairs, or predicts with one.")
    {
        foreach (Option option in new Option[] { features, pairs, predictor, method, output, seed, json })
            Options.Add(option);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        float[][] rows = ReadFeatures(result.GetValue(features)!);
        List<Row> examples = [.. DataFile.Read(result.GetValue(pairs)!)];
        if (examples.Count != rows.Length)
            throw new DataException($"{result.GetValue(pairs)} has {examples.Count} pairs, but its features have {rows.Length} rows; compute the features of this file.");
        if (result.GetValue(predictor) is { } fitted)
            Predict(MarginPredictor.Read(fitted), rows, examples, result);
        else
            Fit(rows, result);
        return 0;
    }

    private void Fit(float[][] rows, ParseResult result)
    {
        string path = result.GetValue(pairs)!;
        DataCounts counts = new();
        List<PreferencePair> labelled = [.. PreferenceData.Pairs(path, counts)];
        if (counts.Dropped.Count > 0)
            throw new DataException($"{path}: {counts}. Go on with the pairs that xds represent wrote with --kept.");
        double[] margins = [.. labelled.Select((pair, index) => pair.Margin ?? throw new DataException($"{path}: pair {index + 1} has no 'margin', and no 'score_chosen' and 'score_rejected'."))];
        if (rows.Length < 20)
            throw new DataException($"{path}: {rows.Length} labelled pairs are too few; give at least 20.");
        if (margins.All(margin => margin == margins[0]))
            throw new DataException($"{path}: every margin is {margins[0].ToString(CultureInfo.InvariantCulture)}; there is nothing to foretell.");
        string[] prompts = [.. labelled.Select(pair => pair.Cluster)];
        Func<IReadOnlyList<float[]>, IReadOnlyList<double>, IReadOnlyList<string>, MarginPredictor> fit = result.GetValue(method) == "mlp"
            ? (some, labels, _) => SmallNetwork.Fit(some, labels, new NetworkSettings { Seed = result.GetValue(seed) })
            : (some, labels, clusters) => RidgeRegression.Fit(some, labels, clusters);
        Report(MarginReport.CrossValidate(rows, margins, prompts, fit), result, "on other prompts than those fitted to");
        if (result.GetValue(output) is { } file)
            fit(rows, margins, prompts).Write(file);
    }

    private void Predict(MarginPredictor fitted, float[][] rows, List<Row> examples, ParseResult result)
    {
        double[] predicted = [.. rows.Select(row => fitted.Predict(row))];
        double?[] labels = [.. examples.Select(row => row.Margin)];
        if (labels.All(label => label is not null))
        {
            double[] known = [.. labels.Select(label => label!.Value)];
            double mean = known.Average();
            Report(new MarginReport(known.Length, predicted.Zip(known, (one, other) => (one - other) * (one - other)).Average(), known.Average(label => (label - mean) * (label - mean)), Correlation.Pearson(predicted, known), Correlation.Spearman(predicted, known)), result, "against the margins in the file");
        }
        if (result.GetValue(output) is { } file)
            File.WriteAllLines(file, examples.Select((row, index) => WithMargin(row.ToJson(result.GetValue(pairs)!, file), predicted[index])));
    }

    private static string WithMargin(string row, double margin)
    {
        JsonObject pair = JsonNode.Parse(row)!.AsObject();
        pair["margin"] = margin;
        return pair.ToJsonString(Plain);
    }

    private void Report(MarginReport report, ParseResult result, string where)
    {
        if (result.GetValue(json))
            Console.WriteLine(JsonSerializer.Serialize(new { pairs = report.Pairs, mse = report.Error, mse_of_mean = report.MeanError, pearson = report.Pearson, spearman = report.Spearman }));
        else
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{report.Pairs} pairs {where}: MSE {report.Error:F4} (of the mean {report.MeanError:F4}), Pearson {report.Pearson:F3}, Spearman {report.Spearman:F3}"));
    }

    private static float[][] ReadFeatures(string path)
    {
        using FeatureFile file = FeatureFile.Open(path);
        float[][] rows = new float[file.Rows][];
        for (int row = 0; row < rows.Length; row++)
            file.Read(row, rows[row] = new float[file.Columns]);
        return rows;
    }
}
