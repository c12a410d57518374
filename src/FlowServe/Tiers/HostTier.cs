namespace XDeepServe.FlowServe.Tiers;

/// <summary>
/// Cache blocks in host memory, found by the chain hash of their tokens (<see cref="RadixIndex.Hash"/>) and checked against
/// the tokens. Its memory is taken once; a slot is free, being filled, kept, or kept and pinned by whoever copies it. What is
/// used again goes last, and a block before the one that it stands on. One thread; the bytes of a slot that was taken or
/// pinned belong to whoever did, on any thread, until it is kept, given back or unpinned.
/// </summary>
public sealed class HostTier
{
    private const int SlabBytes = 1 << 30;
    private readonly BlockPool pool;
    private readonly RadixIndex index;
    private readonly byte[][] slabs; // pinned: the garbage collector leaves them where they are
    private readonly ulong[] hashes, parents; // [slots]
    private readonly int perSlab;

    /// <summary>An empty tier.</summary>
    /// <param name="bytes">Most bytes of blocks.</param>
    /// <param name="blockBytes">Bytes of a block.</param>
    /// <param name="blockSize">Positions of a block.</param>
    /// <exception cref="ArgumentException">Not even one block fits; says what to do.</exception>
    public HostTier(long bytes, int blockBytes, int blockSize)
    {
        (BlockBytes, BlockSize) = (blockBytes, blockSize);
        Slots = (int)Math.Min(bytes / blockBytes, (1 << 30) / blockSize);
        if (Slots < 1)
            throw new ArgumentException($"{bytes} bytes of host memory hold no cache block of {blockBytes}; give --kv-offloading-size more.");
        pool = new BlockPool(Slots);
        index = new RadixIndex(Slots, blockSize);
        (hashes, parents) = (new ulong[Slots], new ulong[Slots]);
        perSlab = Math.Max(1, SlabBytes / blockBytes);
        slabs = new byte[(Slots + perSlab - 1) / perSlab][];
        for (int slab = 0; slab < slabs.Length; slab++)
            slabs[slab] = GC.AllocateUninitializedArray<byte>(checked(Math.Min(perSlab, Slots - slab * perSlab) * blockBytes), pinned: true);
    }

    /// <summary>Bytes of a block.</summary>
    public int BlockBytes { get; }

    /// <summary>Positions of a block.</summary>
    public int BlockSize { get; }

    /// <summary>Blocks that there is room for.</summary>
    public int Slots { get; }

    /// <summary>Blocks that can be found.</summary>
    public int Count => index.Count;

    /// <summary>Slots that nothing is in.</summary>
    public int Free => pool.Free;

    /// <summary>Slots that someone fills or has pinned.</summary>
    public int InUse => pool.InUse;

    /// <summary>A slot's bytes: <see cref="BlockBytes"/>.</summary>
    public Span<byte> Bytes(int slot) => slabs[slot / perSlab].AsSpan(slot % perSlab * BlockBytes, BlockBytes);

    /// <summary>A kept slot's tokens.</summary>
    public ReadOnlySpan<int> Tokens(int slot) => index.Tokens(slot);

    /// <summary>A kept slot's hash and that of the block before it.</summary>
    public (ulong Hash, ulong Parent) Key(int slot) => (hashes[slot], parents[slot]);

    /// <summary>Finds a block.</summary>
    /// <param name="parent">Hash of what stands before it.</param>
    /// <param name="hash">Hash of it all.</param>
    /// <param name="tokens">Its own tokens.</param>
    /// <returns>Its slot, or -1.</returns>
    public int Find(ulong parent, ulong hash, ReadOnlySpan<int> tokens) => index.Find(Fold(parent), hash, tokens);

    /// <summary>Whether there is a block of a hash, unchecked.</summary>
    public bool Contains(ulong hash) => index.Find(hash) >= 0;

    /// <summary>Takes a free slot, to fill it.</summary>
    public bool TryTake(out int slot)
    {
        slot = -1;
        return pool.Free > 0 && pool.TryTake(out slot, out _);
    }

    /// <summary>Makes a filled slot's block known.</summary>
    /// <param name="slot">A slot that was taken.</param>
    /// <param name="parent">Hash of what stands before the block.</param>
    /// <param name="hash">Hash of it all.</param>
    /// <param name="tokens">Its own tokens.</param>
    /// <returns>False, with the slot given back, if the block is known already.</returns>
    public bool Keep(int slot, ulong parent, ulong hash, ReadOnlySpan<int> tokens)
    {
        if (Find(parent, hash, tokens) >= 0)
        {
            pool.Release(slot);
            return false;
        }
        int before = index.Find(parent);
        index.Add(slot, Fold(parent), hash, tokens);
        (hashes[slot], parents[slot]) = (hash, parent);
        pool.Keep(slot);
        pool.Release(slot, before); // evicted right before the block that it stands on
        return true;
    }

    /// <summary>Gives a slot back that was taken and could not be filled.</summary>
    public void GiveBack(int slot) => pool.Release(slot);

    /// <summary>Keeps a known block from being evicted.</summary>
    public void Pin(int slot) => pool.Acquire(slot);

    /// <summary>Ends what <see cref="Pin"/> began. The block counts as used when the one that it stands on was.</summary>
    public void Unpin(int slot) => pool.Release(slot, index.Find(parents[slot]));

    /// <summary>Counts a known block as just used.</summary>
    public void Touch(int slot)
    {
        pool.Acquire(slot);
        pool.Release(slot);
    }

    /// <summary>The block that was unused for longest.</summary>
    public bool TryOldest(out int slot) => pool.TryOldest(out slot);

    /// <summary>The block that was used last.</summary>
    public bool TryNewest(out int slot) => pool.TryNewest(out slot);

    /// <summary>Forgets a block that nobody but perhaps the caller has pinned.</summary>
    /// <param name="slot">Its slot.</param>
    /// <param name="pinned">Whether the caller has.</param>
    /// <returns>False, with the caller's pin gone and nothing else changed, if others have.</returns>
    public bool Forget(int slot, bool pinned)
    {
        if (pinned && pool.References(slot) > 1)
        {
            pool.Release(slot);
            return false;
        }
        index.Remove(slot);
        if (pinned)
            pool.Release(slot);
        pool.Forget(slot);
        return true;
    }

    /// <summary>Where a block before is named by its hash, not by its slot: it may be elsewhere.</summary>
    private static int Fold(ulong parent) => (int)(parent ^ parent >> 32);
}
