using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe;

/// <summary>
/// Who holds which cache blocks, and which prefixes they hold (the paper's relational tensor cache, its first tier): a block
/// pool and a radix index over it. Touches no tensor. One thread.
/// </summary>
public sealed class TensorCache
{
    private readonly RadixIndex index;
    private readonly bool sharing;
    private readonly BlockResidency? residency;
    private readonly PrefixFeed prefixes;

    /// <summary>An empty cache.</summary>
    /// <param name="blocks">Blocks.</param>
    /// <param name="blockSize">Positions in a block.</param>
    /// <param name="sharing">Whether sequences with the same beginning share blocks.</param>
    public TensorCache(int blocks, int blockSize, bool sharing) : this(blocks, blockSize, sharing, null)
    {
    }

    /// <summary>An empty cache that tells how long blocks stay.</summary>
    internal TensorCache(int blocks, int blockSize, bool sharing, BlockResidency? residency)
    {
        this.residency = residency;
        Pool = new BlockPool(blocks);
        index = new RadixIndex(blocks, blockSize);
        prefixes = new PrefixFeed(blocks, blockSize);
        BlockSize = blockSize;
        this.sharing = sharing;
    }

    /// <summary>Positions in a block.</summary>
    public int BlockSize { get; }

    /// <summary>The blocks.</summary>
    public BlockPool Pool { get; }

    /// <summary>Names of the beginnings that it holds: others may read them.</summary>
    public PrefixSet Prefixes => prefixes.Set;

    /// <summary>What stands behind the device's blocks; null for nothing.</summary>
    internal CacheTiers? Tiers
    {
        get;
        set
        {
            field = value;
            prefixes.Reserve(value?.Blocks ?? 0);
        }
    }

    /// <summary>Prompt tokens looked up so far.</summary>
    public long Queries { get; private set; }

    /// <summary>Prompt tokens found so far.</summary>
    public long Hits { get; private set; }

    /// <summary>Gives a sequence the blocks of its longest known prefix; at least one token is left to compute.</summary>
    /// <returns>Positions that are computed already.</returns>
    public int Match(Sequence sequence)
    {
        if (!sharing || !sequence.MaySharePrefix)
            return 0;
        ReadOnlySpan<int> known = sequence.Keys;
        int parent = RadixIndex.Root;
        ulong hash = sequence.SaltHash;
        for (int end = BlockSize; end < known.Length; end += BlockSize)
        {
            ReadOnlySpan<int> tokens = known.Slice(end - BlockSize, BlockSize);
            hash = RadixIndex.Hash(hash, tokens);
            int block = index.Find(parent, hash, tokens);
            if (block < 0)
                break;
            Pool.Acquire(block);
            sequence.AddBlock(block);
            parent = block;
        }
        sequence.CommittedBlocks = sequence.BlockCount;
        sequence.CommittedHash = CommittedHash(sequence);
        return sequence.BlockCount * BlockSize;
    }

    /// <summary>Counts what <see cref="Match"/> found for a sequence that is admitted: one that lacks room is matched again and again.</summary>
    public void Count(Sequence sequence)
    {
        if (!sharing || !sequence.MaySharePrefix)
            return;
        Queries += sequence.Known.Length;
        Hits += (long)sequence.CommittedBlocks * BlockSize;
        for (int place = 0; place < sequence.CommittedBlocks; place++)
            residency?.Use(sequence.Blocks[place]);
        Tiers?.Used(sequence);
    }

    /// <summary>Makes a sequence's blocks hold <paramref name="positions"/> positions.</summary>
    /// <returns>False, with nothing taken, if there are too few.</returns>
    public bool TryExtend(Sequence sequence, int positions)
    {
        int missing = (positions + BlockSize - 1) / BlockSize - sequence.BlockCount;
        if (missing > Pool.Available)
            return false;
        for (; missing > 0; missing--)
        {
            Pool.TryTake(out int block, out bool evicted);
            if (evicted)
            {
                index.Remove(block);
                Tiers?.Evicted(block);
                ulong hash = index.HashOf(block);
                prefixes.Evict(block, hash, kept: Tiers?.Holds(hash) == true);
                residency?.Evict(block);
            }
            residency?.Take(block);
            sequence.AddBlock(block);
        }
        return true;
    }

    /// <summary>Makes a sequence's full, computed blocks known to others.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="computed">Positions whose content is there and whose tokens are known.</param>
    public void Commit(Sequence sequence, int computed)
    {
        if (!sharing)
            return;
        for (; (sequence.CommittedBlocks + 1) * BlockSize <= computed && sequence.CommittedBlocks < sequence.BlockCount; sequence.CommittedBlocks++)
        {
            int place = sequence.CommittedBlocks, own = sequence.Blocks[place];
            ReadOnlySpan<int> tokens = sequence.Keys.Slice(place * BlockSize, BlockSize);
            int parent = place == 0 ? RadixIndex.Root : sequence.Blocks[place - 1];
            ulong before = sequence.CommittedHash;
            sequence.CommittedHash = RadixIndex.Hash(before, tokens);
            int twin = index.Find(parent, sequence.CommittedHash, tokens);
            if (twin >= 0)
            {
                // Another sequence computed the same block first: share that one, so that the tree has no forks of equals.
                Pool.Acquire(twin);
                Pool.Release(own);
                sequence.ReplaceBlock(place, twin);
                continue;
            }
            index.Add(own, parent, sequence.CommittedHash, tokens);
            Pool.Keep(own);
            prefixes.Commit(sequence, place);
            Tiers?.Committed(own, sequence.CommittedHash, before);
        }
    }

    /// <summary>Takes all blocks from a sequence. The last go first, so that a prefix outlives what stands behind it.</summary>
    public void Release(Sequence sequence)
    {
        for (int place = sequence.BlockCount - 1; place >= 0; place--)
            Pool.Release(sequence.Blocks[place]);
        sequence.ClearBlocks();
    }

    /// <summary>Forgets all prefixes.</summary>
    /// <returns>False, with nothing changed, while sequences hold blocks.</returns>
    public bool TryReset()
    {
        if (Pool.InUse > 0)
            return false;
        Pool.ForgetAll();
        index.Clear();
        prefixes.Clear();
        Tiers?.Reset();
        return true;
    }

    /// <summary>Gives what stands behind the device's blocks its turn.</summary>
    /// <param name="busy">Whether steps are run, which copies delay.</param>
    internal void TurnTiers(bool busy)
    {
        if (Tiers is not { } tiers)
            return;
        tiers.Turn(index, busy);
        prefixes.Sweep(tiers);
    }

    /// <summary>Brings what would end with the process to disk, as far as time allows.</summary>
    internal void FlushTiers(TimeSpan patience) => Tiers?.Flush(index, patience);

    private ulong CommittedHash(Sequence sequence)
    {
        ulong hash = sequence.SaltHash;
        for (int place = 0; place < sequence.CommittedBlocks; place++)
            hash = RadixIndex.Hash(hash, sequence.Keys.Slice(place * BlockSize, BlockSize));
        return hash;
    }
}
