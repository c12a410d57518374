namespace XDeepServe.FlowServe;

/// <summary>
/// The cache blocks of a request that goes on elsewhere, held until they were fetched: the paper's registered transfer
/// (§4.1, step 3). Its blocks do not change; any thread may read them between <see cref="TryPin"/> and <see cref="Unpin"/>.
/// </summary>
public sealed class KvHold
{
    private int pins; // readers; -1 once freed

    internal KvHold(long number, int group, int positions, int[] blocks, long expiresAt) =>
        (Number, Group, Positions, Blocks, ExpiresAt) = (number, group, positions, blocks, expiresAt);

    /// <summary>Names the hold within its Task Executor; never used again.</summary>
    public long Number { get; }

    /// <summary>The DP group whose cache holds it.</summary>
    public int Group { get; }

    /// <summary>Positions whose keys and values are there.</summary>
    public int Positions { get; }

    /// <summary>Cache blocks, in order of position.</summary>
    public IReadOnlyList<int> Blocks { get; }

    /// <summary>Timestamp (<see cref="System.Diagnostics.Stopwatch"/>) after which it is freed unless someone reads it.</summary>
    public long ExpiresAt { get; }

    /// <summary>Keeps the blocks from being freed.</summary>
    /// <returns>False if they are free already.</returns>
    public bool TryPin()
    {
        for (int seen = Volatile.Read(ref pins); seen >= 0; seen = Volatile.Read(ref pins))
            if (Interlocked.CompareExchange(ref pins, seen + 1, seen) == seen)
                return true;
        return false;
    }

    /// <summary>Ends what <see cref="TryPin"/> began.</summary>
    public void Unpin() => Interlocked.Decrement(ref pins);

    /// <summary>Takes the blocks back unless someone reads them.</summary>
    internal bool TryFree() => Interlocked.CompareExchange(ref pins, -1, 0) == 0;
}
