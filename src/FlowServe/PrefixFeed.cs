using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>
/// Keeps a <see cref="PrefixSet"/> true to a tensor cache: as soon as a beginning's last block is known to the index its name is in
/// the set, and no longer once the block was evicted. Allocates nothing after its construction. The cache's thread.
/// </summary>
/// <param name="blocks">Cache blocks.</param>
/// <param name="blockSize">Positions in a block.</param>
internal sealed class PrefixFeed(int blocks, int blockSize)
{
    private readonly int stride = Math.Max(1, blockSize / PrefixChain.Span);
    private readonly ulong[] names = new ulong[blocks * Math.Max(1, blockSize / PrefixChain.Span)]; // [blocks, stride] of the beginnings that end in a block; 0: none

    /// <summary>The names.</summary>
    public PrefixSet Set { get; } = new(blocks * Math.Max(1, blockSize / PrefixChain.Span));

    /// <summary>The index knows a block now, and all before it.</summary>
    /// <param name="sequence">Who holds it.</param>
    /// <param name="place">Its place in the sequence.</param>
    public void Commit(Sequence sequence, int place)
    {
        int start = place * blockSize;
        for (int end = (start / PrefixChain.Span + 1) * PrefixChain.Span; end <= start + blockSize; end += PrefixChain.Span)
        {
            int before = end - PrefixChain.Span;
            ulong name = PrefixChain.Next(before == 0 ? sequence.SaltHash : names[Slot(sequence, before)], sequence.Keys.Slice(before, PrefixChain.Span));
            names[Slot(sequence, end)] = name;
            Set.Add(name);
        }
    }

    /// <summary>The index does not know a block any more.</summary>
    public void Evict(int block)
    {
        foreach (ref ulong name in names.AsSpan(block * stride, stride))
        {
            if (name != 0)
                Set.Remove(name);
            name = 0;
        }
    }

    /// <summary>The index knows nothing any more.</summary>
    public void Clear()
    {
        Array.Clear(names);
        Set.Clear();
    }

    private int Slot(Sequence sequence, int end) =>
        sequence.Blocks[(end - 1) / blockSize] * stride + (end - 1) % blockSize / PrefixChain.Span;
}
