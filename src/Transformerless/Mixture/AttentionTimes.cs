using System.Diagnostics;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Where the time of a rank's steps goes: its own work between exchanges, giving rows away, waiting for their sums, and the whole
/// way of the rows there and back, of which that waiting is the part that nothing hid. In ticks of <see cref="Stopwatch"/>; written
/// by the executor's thread, read by any.
/// </summary>
public sealed class AttentionTimes
{
    private long mark, work, sending, waiting, travelling;
    private readonly long[] departures = new long[4];
    private uint sent, received;

    /// <summary>Rounds received.</summary>
    public long Rounds => Volatile.Read(ref received);

    /// <summary>Attention, router and whatever else the rank does between exchanges.</summary>
    public TimeSpan Work => Stopwatch.GetElapsedTime(0, Volatile.Read(ref work));

    /// <summary>Giving rows away.</summary>
    public TimeSpan Sending => Stopwatch.GetElapsedTime(0, Volatile.Read(ref sending));

    /// <summary>Waiting for sums and adding them up.</summary>
    public TimeSpan Waiting => Stopwatch.GetElapsedTime(0, Volatile.Read(ref waiting));

    /// <summary>From giving rows away to having their sums.</summary>
    public TimeSpan Travelling => Stopwatch.GetElapsedTime(0, Volatile.Read(ref travelling));

    internal void Open()
    {
        mark = Stopwatch.GetTimestamp();
        sent = received;
    }

    internal void BeforeSend() => Charge(ref work);

    internal void AfterSend()
    {
        Charge(ref sending);
        departures[sent++ % 4] = mark;
    }

    internal void BeforeReceive() => Charge(ref work);

    internal void AfterReceive()
    {
        Charge(ref waiting);
        travelling += mark - departures[received++ % 4];
    }

    private void Charge(ref long stage)
    {
        long now = Stopwatch.GetTimestamp();
        Volatile.Write(ref stage, stage + now - mark);
        mark = now;
    }
}
