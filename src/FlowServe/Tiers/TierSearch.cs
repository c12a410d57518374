namespace XDeepServe.FlowServe.Tiers;

/// <summary>Looks for the blocks behind those that the device holds, and says how many are worth loading. One thread.</summary>
/// <param name="host">Host memory.</param>
/// <param name="disk">Disk; null for none.</param>
/// <param name="cost">What is worth it; null: everything.</param>
/// <param name="metrics">Counts what was not.</param>
internal sealed class TierSearch(HostTier host, DiskTier? disk, TierCostModel? cost, TierMetrics metrics)
{
    private readonly List<int> touched = [];
    private Sequence? declined;

    /// <summary>How far to load: where computing the rest takes longest compared to loading what stands before it.</summary>
    /// <returns>Positions; <paramref name="from"/> if nothing was found or computing is faster.</returns>
    public int Reach(Sequence sequence, int from)
    {
        int found = from, best = from, hostBlocks = 0, diskBlocks = 0;
        double most = 0;
        for (Walk walk = new(host, disk, sequence, from, int.MaxValue); walk.Next();)
        {
            found += host.BlockSize;
            hostBlocks += walk.Slot >= 0 ? 1 : 0;
            diskBlocks += walk.Slot < 0 ? 1 : 0;
            double gain = cost is null ? found
                : cost.Compute(from, found) - cost.Load((long)hostBlocks * host.BlockBytes, (long)diskBlocks * host.BlockBytes);
            if (gain > most)
                (most, best) = (gain, found);
        }
        if (found > from && best == from && declined != sequence)
        {
            declined = sequence; // counted once, however often it is asked for
            metrics.Declined++;
            cost!.Decline();
        }
        return best;
    }

    /// <summary>Adds blocks to a load.</summary>
    public void Add(TierLoad load, Sequence sequence, int from, int to)
    {
        for (Walk walk = new(host, disk, sequence, from, to); walk.Next();)
            load.Add(new TierBlock(walk.Hash, walk.Parent));
    }

    /// <summary>Counts copies of the blocks that a sequence found as just used, the first as the last.</summary>
    public void Touch(Sequence sequence)
    {
        touched.Clear();
        ulong hash = sequence.SaltHash;
        for (int place = 0; place < sequence.CommittedBlocks; place++)
        {
            ReadOnlySpan<int> tokens = sequence.Keys.Slice(place * host.BlockSize, host.BlockSize);
            ulong parent = hash;
            hash = RadixIndex.Hash(hash, tokens);
            if (host.Find(parent, hash, tokens) is >= 0 and int slot)
                touched.Add(slot);
        }
        for (int i = touched.Count - 1; i >= 0; i--)
            host.Touch(touched[i]);
    }

    /// <summary>The blocks that are in a tier, one behind the other; at least one token is left to compute.</summary>
    private struct Walk
    {
        private readonly HostTier host;
        private readonly DiskTier? disk;
        private readonly Sequence sequence;
        private readonly int to;
        private int end;

        public Walk(HostTier host, DiskTier? disk, Sequence sequence, int from, int to)
        {
            (this.host, this.disk, this.sequence, end, Hash) = (host, disk, sequence, from, sequence.CommittedHash);
            bool may = from % host.BlockSize == 0 && sequence.MaySharePrefix;
            this.to = may ? Math.Min(to, sequence.Known.Length - 1) : 0;
        }

        public int Slot { get; private set; }

        public ulong Hash { get; private set; }

        public ulong Parent { get; private set; }

        public bool Next()
        {
            int size = host.BlockSize;
            if (end + size > to)
                return false;
            ReadOnlySpan<int> tokens = sequence.Keys.Slice(end, size);
            Parent = Hash;
            Hash = RadixIndex.Hash(Parent, tokens);
            Slot = host.Find(Parent, Hash, tokens);
            end += size;
            return Slot >= 0 || disk?.Contains(Hash) == true;
        }
    }
}
