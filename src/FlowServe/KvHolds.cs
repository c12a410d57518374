using System.Collections.Concurrent;
using System.Diagnostics;

namespace XDeepServe.FlowServe;

/// <summary>
/// The holds of one DP group. The group's thread adds and frees; any thread may find one or ask for it to be freed.
/// </summary>
internal sealed class KvHolds(int group, TensorCache cache, TimeSpan lease)
{
    private readonly ConcurrentDictionary<long, KvHold> holds = new();
    private readonly HashSet<long> unwanted = []; // to be freed as soon as nobody reads them
    private readonly long leaseTicks = (long)(lease.TotalSeconds * Stopwatch.Frequency);
    private long number, sweepAt;

    /// <summary>Number of holds.</summary>
    public int Count { get; private set; }

    /// <summary>Holds that nobody came for.</summary>
    public long Expired { get; private set; }

    /// <summary>Finds a hold; null if there is none of that number (any more). Any thread.</summary>
    public KvHold? Find(long wanted) => holds.GetValueOrDefault(wanted);

    /// <summary>Takes a sequence's blocks over.</summary>
    public KvHold Add(Sequence sequence)
    {
        KvHold hold = new(++number, group, sequence.Known.Length - 1, sequence.DetachBlocks(), Stopwatch.GetTimestamp() + leaseTicks);
        holds[hold.Number] = hold;
        Count++;
        return hold;
    }

    /// <summary>Frees a hold now, or when its readers have gone. Unknown numbers are freed already.</summary>
    public void Free(long wanted)
    {
        if (!holds.TryGetValue(wanted, out KvHold? hold))
            return;
        if (!hold.TryFree())
        {
            unwanted.Add(wanted);
            return;
        }
        holds.TryRemove(wanted, out _);
        Count--;
        unwanted.Remove(wanted);
        for (int place = hold.Blocks.Count - 1; place >= 0; place--)
            cache.Pool.Release(hold.Blocks[place]);
    }

    /// <summary>Frees what has lain too long, and what could not be freed before.</summary>
    public void Sweep()
    {
        if (Count == 0)
            return;
        long now = Stopwatch.GetTimestamp();
        if (now < sweepAt)
            return;
        sweepAt = now + Stopwatch.Frequency / 50;
        foreach ((long key, KvHold hold) in holds)
        {
            bool expired = now >= hold.ExpiresAt;
            if (!expired && !unwanted.Contains(key))
                continue;
            Expired += expired && unwanted.Add(key) ? 1 : 0;
            Free(key);
        }
    }
}
