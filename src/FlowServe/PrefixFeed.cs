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
    /// <summary>Names that a turn looks at: a turn's length does not depend on what the tiers hold.</summary>
    internal const int SweepNames = 64;

    private static readonly TimeSpan s_sweepInterval = TimeSpan.FromSeconds(1);
    private readonly int stride = Math.Max(1, blockSize / PrefixChain.Span);
    private readonly ulong[] names = new ulong[blocks * Math.Max(1, blockSize / PrefixChain.Span)]; // [blocks, stride] of the beginnings that end in a block; 0: none
    private readonly Dictionary<ulong, int> places = []; // of names in below
    private (ulong Name, ulong Hash)[] below = []; // the first of them: beginnings whose last block only the tiers have, by its hash
    private int cursor; // what is before it was looked at in this round
    private bool sweeping;
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
            if (places.TryGetValue(name, out int known))
                Forget(known);
        }
    }

    /// <summary>Makes room for the names of blocks that the tiers behind the device have, before there are any.</summary>
    /// <param name="kept">Blocks.</param>
    public void Reserve(int kept)
    {
        below = new (ulong, ulong)[kept * stride];
        places.EnsureCapacity(below.Length);
        Set.Reserve(blocks * stride + below.Length);
    }

    /// <summary>The index does not know a block any more.</summary>
    /// <param name="block">The block.</param>
    /// <param name="hash">Its chain hash.</param>
    /// <param name="kept">Whether the tiers have it.</param>
    public void Evict(int block, ulong hash, bool kept)
    {
        foreach (ref ulong name in names.AsSpan(block * stride, stride))
        {
            if (name != 0 && !(kept && Keep(name, hash)))
                Set.Remove(name);
            name = 0;
        }
    }

    /// <summary>Forgets what the tiers have lost: some names a turn, all of them once a second if there are turns enough.</summary>
    public void Sweep(CacheTiers tiers)
    {
        if (!sweeping)
        {
            if (Stopwatch.GetElapsedTime(sweptAt) < s_sweepInterval)
                return;
            (cursor, sweptAt) = (0, Stopwatch.GetTimestamp());
        }
        for (int looked = 0; looked < SweepNames && cursor < places.Count; looked++)
        {
            if (tiers.Holds(below[cursor].Hash))
            {
                cursor++;
                continue;
            }
            Set.Remove(below[cursor].Name);
            Forget(cursor);
        }
        sweeping = cursor < places.Count;
    }

    /// <summary>The index knows nothing any more.</summary>
    public void Clear()
    {
        Array.Clear(names);
        places.Clear();
        sweeping = false;
        Set.Clear();
    }

    /// <returns>False if there is no room.</returns>
    private bool Keep(ulong name, ulong hash)
    {
        if (places.ContainsKey(name))
            return true;
        int place = places.Count;
        if (place == below.Length)
            return false;
        places.Add(name, place);
        below[place] = (name, hash);
        return true;
    }

    /// <summary>The last takes the place of one that is below no more. Where that is before the cursor, the last waits for the next round.</summary>
    private void Forget(int place)
    {
        places.Remove(below[place].Name);
        if (place == places.Count)
            return;
        below[place] = below[places.Count];
        places[below[place].Name] = place;
    }

    private int Slot(Sequence sequence, int end) =>
        sequence.Blocks[(end - 1) / blockSize] * stride + (end - 1) % blockSize / PrefixChain.Span;
}
