using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe;

/// <summary>
/// Keeps a <see cref="PrefixSet"/> true to a tensor cache: as soon as a beginning's last block is known to the index its name is in
/// the set, and no longer once the block was evicted and, soon after, once the tiers behind the device have lost it too. What a process finds on disk
/// when it starts has no names before it was used. Allocates nothing after its construction. The cache's thread.
/// </summary>
/// <param name="blocks">Cache blocks.</param>
/// <param name="blockSize">Positions in a block.</param>
internal sealed class PrefixFeed(int blocks, int blockSize)
{
    private static readonly TimeSpan s_sweepInterval = TimeSpan.FromSeconds(1);
    private readonly int stride = Math.Max(1, blockSize / PrefixChain.Span);
    private readonly ulong[] names = new ulong[blocks * Math.Max(1, blockSize / PrefixChain.Span)]; // [blocks, stride] of the beginnings that end in a block; 0: none
    private readonly Dictionary<ulong, ulong> below = []; // by name: the hash of a block that only the tiers have
    private int room;
    private long sweptAt;

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
            below.Remove(name);
        }
    }

    /// <summary>Makes room for the names of blocks that the tiers behind the device have, before there are any.</summary>
    /// <param name="kept">Blocks.</param>
    public void Reserve(int kept)
    {
        room = kept * stride;
        below.EnsureCapacity(room);
        Set.Reserve(blocks * stride + room);
    }

    /// <summary>The index does not know a block any more.</summary>
    /// <param name="block">The block.</param>
    /// <param name="hash">Its chain hash.</param>
    /// <param name="kept">Whether the tiers have it.</param>
    public void Evict(int block, ulong hash, bool kept)
    {
        foreach (ref ulong name in names.AsSpan(block * stride, stride))
        {
            if (name != 0 && kept && below.Count < room)
                below[name] = hash;
            else if (name != 0)
                Set.Remove(name);
            name = 0;
        }
    }

    /// <summary>Forgets, once a second, what the tiers have lost.</summary>
    public void Sweep(CacheTiers tiers)
    {
        if (below.Count == 0 || Stopwatch.GetElapsedTime(sweptAt) < s_sweepInterval)
            return;
        sweptAt = Stopwatch.GetTimestamp();
        foreach ((ulong name, ulong hash) in below)
        {
            if (tiers.Holds(hash))
                continue;
            Set.Remove(name);
            below.Remove(name);
        }
    }

    /// <summary>The index knows nothing any more.</summary>
    public void Clear()
    {
        Array.Clear(names);
        below.Clear();
        Set.Clear();
    }

    private int Slot(Sequence sequence, int end) =>
        sequence.Blocks[(end - 1) / blockSize] * stride + (end - 1) % blockSize / PrefixChain.Span;
}
