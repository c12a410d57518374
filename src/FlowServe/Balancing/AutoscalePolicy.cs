namespace XDeepServe.FlowServe.Balancing;

/// <summary>One look at the workers of a role.</summary>
/// <param name="At">When, on any clock that only goes forward.</param>
/// <param name="QueueTime">How long the request at the front of the queue has waited.</param>
/// <param name="KvUsage">Share of the cache in use, 0 to 1, the mean over workers.</param>
public readonly record struct LoadSample(TimeSpan At, TimeSpan QueueTime, double KvUsage);

/// <summary>Bounds of <see cref="AutoscalePolicy"/>. Those for going out lie above those for going in: between them nothing changes.</summary>
public sealed record AutoscaleSettings
{
    /// <summary>Fewest workers.</summary>
    public int Fewest { get; init; } = 1;

    /// <summary>Most workers.</summary>
    public required int Most { get; init; }

    /// <summary>Waiting this long asks for a worker more.</summary>
    public TimeSpan QueueTimeOut { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Waiting less than this allows a worker less.</summary>
    public TimeSpan QueueTimeIn { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>A cache this full asks for a worker more.</summary>
    public double KvUsageOut { get; init; } = 0.85;

    /// <summary>A cache that would be less full than this with a worker less allows it.</summary>
    public double KvUsageIn { get; init; } = 0.5;

    /// <summary>How long the load must have been high.</summary>
    public TimeSpan PatienceOut { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long the load must have been low.</summary>
    public TimeSpan PatienceIn { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Time after a change before the next: what it does must show first.</summary>
    public TimeSpan CoolDown { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Checks the values against each other.</summary>
    /// <exception cref="ArgumentException">They would let the number of workers swing; says why.</exception>
    public void Validate()
    {
        if (Fewest < 1 || Most < Fewest)
            throw new ArgumentException($"Between {Fewest} and {Most} workers is no range; at least one must stay.");
        if (QueueTimeIn >= QueueTimeOut || KvUsageIn >= KvUsageOut)
            throw new ArgumentException("Scaling in must begin below where scaling out begins, in queue time and in cache usage.");
    }
}

/// <summary>What to do with the number of workers.</summary>
public enum ScaleDecision
{
    /// <summary>Nothing.</summary>
    Hold,
    /// <summary>Start one.</summary>
    Out,
    /// <summary>Drain one.</summary>
    In,
}

/// <summary>Decides on the number of workers of a role from queue time and cache usage (paper §2.1, the autoscaler). Pure.</summary>
public static class AutoscalePolicy
{
    /// <summary>Out when the load was high throughout <see cref="AutoscaleSettings.PatienceOut"/>, in when it was low throughout <see cref="AutoscaleSettings.PatienceIn"/>.</summary>
    /// <param name="settings">Bounds.</param>
    /// <param name="samples">Looks, oldest first; must reach back over the patience, or the answer is to hold.</param>
    /// <param name="workers">Workers now, those included that are starting.</param>
    /// <param name="changedAt">When the number last changed; null if never.</param>
    public static ScaleDecision Decide(AutoscaleSettings settings, ReadOnlySpan<LoadSample> samples, int workers, TimeSpan? changedAt)
    {
        if (workers < settings.Fewest)
            return ScaleDecision.Out;
        if (workers > settings.Most)
            return ScaleDecision.In;
        if (samples.IsEmpty || samples[^1].At - changedAt < settings.CoolDown)
            return ScaleDecision.Hold;
        // Only what was seen since the last change says something about this number of workers.
        TimeSpan? high = null, low = null;
        for (int i = samples.Length - 1; i >= 0 && !(samples[i].At < changedAt); i--)
        {
            if (IsHigh(settings, samples[i]) && (i == samples.Length - 1 || high == samples[i + 1].At))
                high = samples[i].At;
            if (IsLow(settings, samples[i], workers) && (i == samples.Length - 1 || low == samples[i + 1].At))
                low = samples[i].At;
        }
        if (workers < settings.Most && samples[^1].At - high >= settings.PatienceOut)
            return ScaleDecision.Out;
        return workers > settings.Fewest && samples[^1].At - low >= settings.PatienceIn ? ScaleDecision.In : ScaleDecision.Hold;
    }

    private static bool IsHigh(AutoscaleSettings settings, LoadSample sample) =>
        sample.QueueTime >= settings.QueueTimeOut || sample.KvUsage >= settings.KvUsageOut;

    private static bool IsLow(AutoscaleSettings settings, LoadSample sample, int workers) =>
        sample.QueueTime < settings.QueueTimeIn && workers > 1 && sample.KvUsage * workers / (workers - 1) < settings.KvUsageIn;
}
