using System.Runtime;

namespace XDeepServe.FlowServe;

/// <summary>
/// Decides when this process collects garbage (paper §4.4, manual collection): automatic collection is held off
/// (<see cref="GC.TryStartNoGCRegion(long, bool)"/>) while no more than a budget is allocated, and one is made every few hundred
/// steps, or when no step waits. One for a process; its DP groups share it. Nobody waits for anybody here but for the collection.
/// </summary>
public sealed class CollectionPace : IDisposable
{
    private const int FullEvery = 16; // collections under load for one of all generations
    private readonly int every;
    private readonly long budget;
    private long steps, collections;
    private int busy, collecting;

    /// <summary>Holds automatic collection off.</summary>
    /// <param name="every">Steps between two collections while steps wait; when none waits, a quarter of them is enough.</param>
    /// <param name="budget">Bytes that may be allocated in between; beyond them automatic collection comes back until the next.</param>
    public CollectionPace(int every, long budget)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(every);
        (this.every, this.budget) = (every, budget);
        HoldOff();
    }

    /// <summary>Collections made here.</summary>
    public long Collections => Interlocked.Read(ref collections);

    /// <summary>A DP group has taken a turn.</summary>
    /// <param name="works">Whether it had anything to do.</param>
    /// <param name="worked">What it said last; kept by the group for this.</param>
    public void Turn(bool works, ref bool worked)
    {
        if (works != worked)
        {
            worked = works;
            if (works)
                Start();
            else
                Stop();
        }
        if (works)
            Step();
    }

    /// <summary>A DP group has work again.</summary>
    public void Start() => Interlocked.Increment(ref busy);

    /// <summary>A DP group's step has ended. Collects if it is time.</summary>
    public void Step()
    {
        if (Interlocked.Increment(ref steps) >= every)
            Collect(idle: false);
    }

    /// <summary>A DP group has no work left. Collects if none has and it is worth it.</summary>
    public void Stop()
    {
        if (Interlocked.Decrement(ref busy) == 0 && Interlocked.Read(ref steps) >= (every + 3) / 4)
            Collect(idle: true);
    }

    /// <summary>Gives collection back to the runtime.</summary>
    public void Dispose() => Resume();

    private void Collect(bool idle)
    {
        if (Interlocked.Exchange(ref collecting, 1) != 0)
            return;
        Interlocked.Exchange(ref steps, 0);
        bool full = Interlocked.Increment(ref collections) % FullEvery == 0;
        Resume();
        GC.Collect(idle || full ? 2 : 1, GCCollectionMode.Forced, blocking: true);
        HoldOff();
        Interlocked.Exchange(ref collecting, 0);
    }

    private void HoldOff()
    {
        // Whoever holds collection off already, or has collected by hand meanwhile, has his way.
        if (GCSettings.LatencyMode != GCLatencyMode.NoGCRegion)
            GC.TryStartNoGCRegion(budget, disallowFullBlockingGC: true);
    }

    private static void Resume()
    {
        if (GCSettings.LatencyMode != GCLatencyMode.NoGCRegion)
            return;
        try
        {
            GC.EndNoGCRegion();
        }
        catch (InvalidOperationException)
        {
            // The budget was used up between the question and the call: the runtime collects by itself already.
        }
    }
}
