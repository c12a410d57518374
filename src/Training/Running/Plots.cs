using ScottPlot;

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
