namespace XDeepServe.Cli.Bench;

/// <summary>Mean, spread and percentiles of some measurements.</summary>
internal sealed class Summary
{
    private readonly double[] sorted;

    public Summary(IEnumerable<double> values)
    {
        sorted = [.. values.Order()];
        Mean = sorted.Length == 0 ? 0 : sorted.Average();
        Deviation = sorted.Length == 0 ? 0 : Math.Sqrt(sorted.Average(value => (value - Mean) * (value - Mean)));
    }

    public double Mean { get; }

    public double Deviation { get; }

    public double Median => Percentile(50);

    /// <summary>The value below which a share of the measurements lies, interpolated between neighbours as numpy does.</summary>
    public double Percentile(double percent)
    {
        if (sorted.Length == 0)
            return 0;
        double place = percent / 100 * (sorted.Length - 1);
        int below = (int)place;
        return sorted[below] + (place - below) * (sorted[Math.Min(below + 1, sorted.Length - 1)] - sorted[below]);
    }
}
