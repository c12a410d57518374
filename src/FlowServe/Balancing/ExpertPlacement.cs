namespace XDeepServe.FlowServe.Balancing;

/// <summary>An expert's weights that a slot must get before the placement may be used.</summary>
/// <param name="Slot">Physical slot.</param>
/// <param name="Expert">Logical expert.</param>
public readonly record struct ReplicaMove(int Slot, int Expert);

/// <summary>
/// Which expert each physical slot of one layer holds. Slot s belongs to rank s / slotsPerRank. Every expert has at least one
/// slot; slots may be empty. Never changes.
/// </summary>
public sealed class ExpertPlacement
{
    private readonly int[] slots;  // [ranks · slotsPerRank] the slot's expert, -1 for none
    private readonly int[] starts; // [experts + 1] where an expert's slots begin in owned
    private readonly int[] owned;  // slots of expert 0, of expert 1, …, each rising

    /// <summary>Checks a placement and keeps a copy.</summary>
    /// <param name="experts">Logical experts.</param>
    /// <param name="slotsPerRank">Slots of each rank.</param>
    /// <param name="slots">Each slot's expert, -1 for an empty one, <c>[ranks · slotsPerRank]</c>.</param>
    /// <exception cref="ArgumentException">Slots do not fill whole ranks, hold an unknown expert, or leave one out.</exception>
    public ExpertPlacement(int experts, int slotsPerRank, ReadOnlySpan<int> slots)
    {
        if (slotsPerRank < 1 || slots.IsEmpty || slots.Length % slotsPerRank != 0)
            throw new ArgumentException($"{slots.Length} slots are no whole ranks of {slotsPerRank}.");
        (Experts, SlotsPerRank, this.slots) = (experts, slotsPerRank, slots.ToArray());
        starts = new int[experts + 1];
        int held = 0;
        foreach (int expert in slots)
        {
            if (expert < -1 || expert >= experts)
                throw new ArgumentException($"A slot holds expert {expert}; there are {experts}.");
            if (expert < 0)
                continue;
            starts[expert + 1]++;
            held++;
        }
        int missing = starts.AsSpan(1).IndexOf(0);
        if (missing >= 0)
            throw new ArgumentException($"Expert {missing} has no slot: every expert needs one.");
        for (int expert = 0; expert < experts; expert++)
            starts[expert + 1] += starts[expert];
        owned = new int[held];
        int[] next = starts[..experts];
        for (int slot = 0; slot < slots.Length; slot++)
            if (slots[slot] >= 0)
                owned[next[slots[slot]]++] = slot;
    }

    /// <summary>Logical experts.</summary>
    public int Experts { get; }

    /// <summary>Slots of each rank.</summary>
    public int SlotsPerRank { get; }

    /// <summary>Ranks.</summary>
    public int Ranks => slots.Length / SlotsPerRank;

    /// <summary>Each slot's expert, -1 for none.</summary>
    public ReadOnlySpan<int> Slots => slots;

    /// <summary>The slots that hold an expert, rising.</summary>
    public ReadOnlySpan<int> SlotsOf(int expert) => owned.AsSpan(starts[expert]..starts[expert + 1]);

    /// <summary>One slot for each expert, experts in order, as even as it gets: rank r holds experts from r·E/N to (r+1)·E/N.</summary>
    /// <param name="experts">Logical experts.</param>
    /// <param name="ranks">Ranks; more than experts leave some without.</param>
    /// <param name="redundant">Empty slots that each rank has beside those for its own experts.</param>
    public static ExpertPlacement Plain(int experts, int ranks, int redundant = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(experts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ranks);
        ArgumentOutOfRangeException.ThrowIfNegative(redundant);
        int perRank = (experts + ranks - 1) / ranks + redundant;
        int[] slots = new int[ranks * perRank];
        slots.AsSpan().Fill(-1);
        for (int rank = 0; rank < ranks; rank++)
        {
            int first = (int)((long)rank * experts / ranks), end = (int)((long)(rank + 1) * experts / ranks);
            for (int expert = first; expert < end; expert++)
                slots[rank * perRank + expert - first] = expert;
        }
        return new ExpertPlacement(experts, perRank, slots);
    }

    /// <summary>
    /// One slot for each expert, the others empty: what copies are placed around. An expert's slot of the plain placement, where it
    /// still has it; else that of the rank with the fewest such slots.
    /// </summary>
    public ExpertPlacement Homes()
    {
        ExpertPlacement plain = Plain(Experts, Ranks, Math.Max(0, SlotsPerRank - ((Experts + Ranks - 1) / Ranks)));
        int[] homes = new int[slots.Length], taken = new int[Ranks];
        homes.AsSpan().Fill(-1);
        for (int expert = 0; expert < Experts; expert++)
        {
            int home = plain.slots.Length == slots.Length && slots[plain.SlotsOf(expert)[0]] == expert ? plain.SlotsOf(expert)[0] : -1;
            foreach (int slot in home < 0 ? SlotsOf(expert) : [])
                if (home < 0 || taken[slot / SlotsPerRank] < taken[home / SlotsPerRank])
                    home = slot;
            homes[home] = expert;
            taken[home / SlotsPerRank]++;
        }
        return new ExpertPlacement(Experts, SlotsPerRank, homes);
    }

    /// <summary>The same experts on the same ranks, each in the slot where it is already, if it is there.</summary>
    /// <param name="before">A placement of as many slots.</param>
    public ExpertPlacement AlignedWith(ExpertPlacement before)
    {
        int[] aligned = new int[slots.Length];
        for (int start = 0; start < slots.Length; start += SlotsPerRank)
        {
            List<int> wanted = [.. slots[start..(start + SlotsPerRank)].Where(expert => expert >= 0)];
            for (int slot = start; slot < start + SlotsPerRank; slot++)
                aligned[slot] = wanted.Remove(before.slots[slot]) ? before.slots[slot] : -1;
            foreach (int expert in wanted)
                aligned[Array.IndexOf(aligned, -1, start, SlotsPerRank)] = expert;
        }
        return new ExpertPlacement(Experts, SlotsPerRank, aligned);
    }

    /// <summary>The weights that must be loaded to get from this placement to another one of as many slots.</summary>
    public IReadOnlyList<ReplicaMove> MovesTo(ExpertPlacement next)
    {
        if (next.slots.Length != slots.Length)
            throw new ArgumentException($"A placement of {slots.Length} slots cannot become one of {next.slots.Length}.");
        List<ReplicaMove> moves = [];
        for (int slot = 0; slot < slots.Length; slot++)
            if (next.slots[slot] >= 0 && next.slots[slot] != slots[slot])
                moves.Add(new ReplicaMove(slot, next.slots[slot]));
        return moves;
    }

    /// <summary>Tokens of each rank when each expert's tokens are spread evenly over its slots, <c>[ranks]</c>.</summary>
    /// <param name="counts">Tokens of each expert.</param>
    public double[] RankLoads(ReadOnlySpan<int> counts)
    {
        double[] loads = new double[Ranks];
        for (int slot = 0; slot < slots.Length; slot++)
            if (slots[slot] is int expert and >= 0)
                loads[slot / SlotsPerRank] += (double)counts[expert] / SlotsOf(expert).Length;
        return loads;
    }
}
