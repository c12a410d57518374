using System.Diagnostics;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Where the time of an expert rank goes. Written by its three threads, each its own; read by any.</summary>
public sealed class ExpertTimes
{
    private long travelMicroseconds, queueing, computing, returning, batches, pairs;

    /// <summary>Batches computed.</summary>
    public long Batches => Volatile.Read(ref batches);

    /// <summary>(row, expert) pairs computed.</summary>
    public long Pairs => Volatile.Read(ref pairs);

    /// <summary>A2E: from the first attention rank's giving rows away to having those of all.</summary>
    public TimeSpan Travelling => TimeSpan.FromMicroseconds(Volatile.Read(ref travelMicroseconds));

    /// <summary>From having received a batch to beginning it: others are computed meanwhile.</summary>
    public TimeSpan Queueing => Stopwatch.GetElapsedTime(0, Volatile.Read(ref queueing));

    /// <summary>Running experts.</summary>
    public TimeSpan Computing => Stopwatch.GetElapsedTime(0, Volatile.Read(ref computing));

    /// <summary>Giving answers away.</summary>
    public TimeSpan Returning => Stopwatch.GetElapsedTime(0, Volatile.Read(ref returning));

    /// <summary>What a batch of one pair, and one of many, took before the rank began; zero if that was not measured.</summary>
    public (TimeSpan One, TimeSpan Many) Alone { get; init; }

    internal void AddTravel(uint microseconds) => Interlocked.Add(ref travelMicroseconds, microseconds);

    internal void AddCompute(long arrived, long begun, long ended, long morePairs)
    {
        Volatile.Write(ref queueing, queueing + begun - arrived);
        Volatile.Write(ref computing, computing + ended - begun);
        Volatile.Write(ref batches, batches + 1);
        Volatile.Write(ref pairs, morePairs);
    }

    internal void AddReturn(long ticks) => Volatile.Write(ref returning, returning + ticks);
}
