using ScottPlot;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Training.Running;

/// <summary>Pictures of a run's log.</summary>
public static class Plots
{
    private const int Width = 800, Height = 500;

    /// <summary>Draws <c>loss.png</c> and, where something is compared, <c>accuracy.png</c>.</summary>
    public static void Draw(string folder, IReadOnlyList<LogEntry> entries)
    {
        Draw(Path.Combine(folder, "loss.png"), "loss", entries, entry => entry.Loss, entry => entry.EvalLoss);
        Draw(Path.Combine(folder, "accuracy.png"), "accuracy", entries, entry => entry.Accuracy, entry => entry.EvalAccuracy);
    }

    /// <summary>Draws how the scores of a selection lie, those of the rows kept before those of all.</summary>
    public static void Histogram(string path, SelectionReport report)
    {
        const int Bins = 40;
        double low = report.Scores.Min(), width = Math.Max((report.Scores.Max() - low) / Bins, 1e-12);
        double[] places = [.. Enumerable.Range(0, Bins).Select(bin => low + (bin + 0.5) * width)];
        using Plot plot = new();
        foreach ((string label, IEnumerable<double> scores) in new[] { ("all", (IEnumerable<double>)report.Scores), ("kept", report.Kept.Select(row => report.Scores[row])) })
        {
            double[] counts = new double[Bins];
            foreach (double score in scores)
                counts[Math.Min(Bins - 1, (int)((score - low) / width))]++;
            ScottPlot.Plottables.BarPlot bars = plot.Add.Bars(places, counts);
            bars.LegendText = label;
            foreach (Bar bar in bars.Bars)
                bar.Size = width;
        }
        plot.XLabel(report.LowerIsBetter ? "score (lower is better)" : "score (higher is better)");
        plot.YLabel("pairs");
        plot.ShowLegend();
        plot.SavePng(path, Width, Height);
    }

    private static void Draw(string path, string name, IReadOnlyList<LogEntry> entries, Func<LogEntry, double?> training, Func<LogEntry, double?> evaluation)
    {
        using Plot plot = new();
        bool any = false;
        foreach ((string label, Func<LogEntry, double?> value) in new[] { ("training", training), ("evaluation", evaluation) })
        {
            LogEntry[] with = [.. entries.Where(entry => value(entry) is { } number && double.IsFinite(number))];
            if (with.Length == 0)
                continue;
            any = true;
            plot.Add.Scatter(with.Select(entry => (double)entry.Step).ToArray(), with.Select(entry => value(entry)!.Value).ToArray()).LegendText = label;
        }
        if (!any)
            return;
        plot.XLabel("step");
        plot.YLabel(name);
        plot.ShowLegend();
        plot.SavePng(path, Width, Height);
    }
}
