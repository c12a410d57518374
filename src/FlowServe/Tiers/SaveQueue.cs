namespace XDeepServe.FlowServe.Tiers;

/// <summary>Device blocks whose content is to be saved, in order. Each stands in it once at most. One thread.</summary>
internal sealed class SaveQueue(int blocks)
{
    private readonly int[] ring = new int[blocks];
    private readonly ulong[] hashes = new ulong[blocks], parents = new ulong[blocks]; // [blocks] by device block
    private readonly bool[] queued = new bool[blocks], wanted = new bool[blocks];
    private int head, length;

    /// <summary>Blocks that wait.</summary>
    public int Count { get; private set; }

    /// <summary>Adds a block.</summary>
    public void Add(int block, ulong hash, ulong parent)
    {
        (hashes[block], parents[block]) = (hash, parent);
        Count += wanted[block] ? 0 : 1;
        wanted[block] = true;
        if (queued[block])
            return; // it left while it waited and has new content: it keeps its place
        queued[block] = true;
        ring[(head + length++) % ring.Length] = block;
    }

    /// <summary>Takes a block out whose content is going.</summary>
    /// <returns>Whether it waited.</returns>
    public bool Remove(int block)
    {
        bool waited = wanted[block];
        wanted[block] = false;
        Count -= waited ? 1 : 0;
        return waited;
    }

    /// <summary>The first block.</summary>
    public bool TryPeek(out int block, out ulong hash, out ulong parent)
    {
        while (length > 0 && !wanted[ring[head]])
            Shift();
        (block, hash, parent) = length > 0 ? (ring[head], hashes[ring[head]], parents[ring[head]]) : (-1, 0, 0);
        return length > 0;
    }

    /// <summary>Takes the first block out.</summary>
    public void Take()
    {
        Remove(ring[head]);
        Shift();
    }

    /// <summary>Takes all out.</summary>
    public void Clear()
    {
        while (TryPeek(out _, out _, out _))
            Take();
    }

    private void Shift()
    {
        queued[ring[head]] = false;
        head = (head + 1) % ring.Length;
        length--;
    }
}
