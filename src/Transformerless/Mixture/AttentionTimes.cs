using System.Diagnostics;
using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Where the time of a rank's steps goes: its own work between exchanges, giving rows away, waiting for their sums, and the whole
/// way of the rows there and back, of which that waiting is the part that nothing hid. In ticks of <see cref="Stopwatch"/>; written
/// by the executor's thread, read by any.
/// </summary>
public sealed class AttentionTimes
{
    private long mark, work, sending, waiting, travelling, computing, clock;
    private readonly long[] departures = new long[4];
    private uint sent, received;

    /// <summary>Rounds received.</summary>
    public long Rounds => Volatile.Read(ref received);

    /// <summary>Attention, router and whatever else the rank does between exchanges.</summary>
    public TimeSpan Work => Stopwatch.GetElapsedTime(0, Volatile.Read(ref work));

    /// <summary>Processor time that the rank's thread got for <see cref="Work"/>; zero if it computes elsewhere.</summary>
    public TimeSpan Computing => Stopwatch.GetElapsedTime(0, Volatile.Read(ref computing));

    /// <summary>Whether the rank's thread does its work itself, so that its processor time says how much there is.</summary>
    internal bool OnProcessor { get; init; }

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
        Resume();
    }

    internal void BeforeSend() => ChargeWork();

    internal void AfterSend()
    {
        Charge(ref sending);
        departures[sent++ % 4] = mark;
        Resume();
    }

    internal void BeforeReceive() => ChargeWork();

    internal void AfterReceive()
    {
        Charge(ref waiting);
        travelling += mark - departures[received++ % 4];
        Resume();
    }

    private void Resume()
    {
        if (OnProcessor)
            clock = ThreadClock.Now();
    }

    private void ChargeWork()
    {
        Charge(ref work);
        if (OnProcessor)
            Volatile.Write(ref computing, computing + ThreadClock.Now() - clock);
    }

    private void Charge(ref long stage)
    {
        long now = Stopwatch.GetTimestamp();
        Volatile.Write(ref stage, stage + now - mark);
        mark = now;
    }
}
