namespace XDeepServe.FlowServe;

/// <summary>Counts observations by size. One thread writes, any may read; neither waits.</summary>
public sealed class Histogram
{
    private readonly double[] bounds;
    private readonly long[] counts; // [bounds + 1], the last for what lies above all bounds
    private double sum;

    /// <summary>An empty histogram.</summary>
    /// <param name="name">Metric name without prefix.</param>
    /// <param name="help">What is measured.</param>
    /// <param name="bounds">Upper bounds, rising, without infinity.</param>
    public Histogram(string name, string help, params double[] bounds)
    {
        (Name, Help, this.bounds) = (name, help, bounds);
        counts = new long[bounds.Length + 1];
    }

    /// <summary>Metric name without prefix.</summary>
    public string Name { get; }

    /// <summary>What is measured.</summary>
    public string Help { get; }

    /// <summary>Upper bounds, rising, without infinity.</summary>
    public ReadOnlySpan<double> Bounds => bounds;

    /// <summary>Sum of all observations.</summary>
    public double Sum => Volatile.Read(ref sum);

    /// <summary>Observations in each bucket (not cumulative), one more than bounds.</summary>
    public long[] Counts()
    {
        long[] copy = new long[counts.Length];
        for (int i = 0; i < copy.Length; i++)
            copy[i] = Volatile.Read(ref counts[i]);
        return copy;
    }

    /// <summary>Counts an observation.</summary>
    public void Observe(double value)
    {
        int bucket = 0;
        while (bucket < bounds.Length && value > bounds[bucket])
            bucket++;
        Volatile.Write(ref counts[bucket], counts[bucket] + 1);
        Volatile.Write(ref sum, sum + value);
    }
}
