namespace XDeepServe.FlowServe.DistFlow;

/// <summary>What a Task Executor has moved between itself and others. Written by the links' threads, read by any.</summary>
public sealed class TransferMetrics
{
    private long sent, received, transfers, failures, underWay;

    /// <summary>Bytes of keys and values sent.</summary>
    public long SentBytes => Interlocked.Read(ref sent);

    /// <summary>Bytes of keys and values received.</summary>
    public long ReceivedBytes => Interlocked.Read(ref received);

    /// <summary>Pulls that brought what was asked for.</summary>
    public long Transfers => Interlocked.Read(ref transfers);

    /// <summary>Pulls that did not; their positions were computed again.</summary>
    public long Failures => Interlocked.Read(ref failures);

    /// <summary>Pulls that have begun or wait.</summary>
    public long UnderWay => Interlocked.Read(ref underWay);

    /// <summary>From asking to the last byte in the cache.</summary>
    public Histogram Seconds { get; } = new("kv_transfer_seconds", "Time from asking for keys and values to having them in the cache, in seconds.",
        .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10);

    /// <summary>Why the last link broke; null if none did.</summary>
    public string? LastFault { get; private set; }

    internal void Sent(long bytes) => Interlocked.Add(ref sent, bytes);

    internal void Received(long bytes) => Interlocked.Add(ref received, bytes);

    internal void Begin() => Interlocked.Increment(ref underWay);

    internal void End(PullStatus status, double seconds)
    {
        Interlocked.Decrement(ref underWay);
        if (status == PullStatus.Done)
        {
            Interlocked.Increment(ref transfers);
            lock (Seconds)
                Seconds.Observe(seconds);
        }
        else if (status != PullStatus.Cancelled)
        {
            Interlocked.Increment(ref failures);
        }
    }

    internal void LinkBroke(string why) => LastFault = why;
}
