namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// The paper's choice of copies (§4.5). In each slice of time the hottest expert decides how long a layer takes, so each round
/// gives one more copy to that of the slices' hottest experts whose split shortens the sum over slices the most. An expert that
/// every rank holds gains nothing from more copies: then the next hottest counts.
/// </summary>
internal sealed class TimeSlicedGreedy
{
    private readonly ExpertLoad load;
    private readonly int layer, most;
    private readonly int[] replicas;      // [experts]
    private readonly (int Expert, double Load)[] first, second; // [slices] the hottest two

    /// <summary>Each expert has its own slot.</summary>
    /// <param name="load">What the experts had to do.</param>
    /// <param name="layer">In this layer.</param>
    /// <param name="most">Most slots of an expert: the ranks.</param>
    public TimeSlicedGreedy(ExpertLoad load, int layer, int most)
    {
        (this.load, this.layer, this.most) = (load, layer, most);
        replicas = new int[load.Experts];
        replicas.AsSpan().Fill(1);
        first = new (int, double)[load.Slices];
        second = new (int, double)[load.Slices];
        for (int slice = 0; slice < load.Slices; slice++)
            Rank(slice);
    }

    /// <summary>Slots of each expert after this many rounds.</summary>
    public int[] Replicate(int budget)
    {
        for (int round = 0; round < budget; round++)
        {
            int chosen = -1;
            double shortest = double.PositiveInfinity;
            for (int slice = 0; slice < first.Length; slice++)
            {
                int candidate = first[slice].Expert;
                if (candidate < 0 || Known(candidate, slice))
                    continue;
                double length = LengthWithOneMore(candidate);
                if (length < shortest)
                    (chosen, shortest) = (candidate, length);
            }
            if (chosen < 0)
                break; // all experts are on all ranks
            replicas[chosen]++;
            for (int slice = 0; slice < first.Length; slice++)
                if (first[slice].Expert == chosen || second[slice].Expert == chosen)
                    Rank(slice);
        }
        return replicas;
    }

    /// <summary>Puts copies, heaviest first, on the rank with the least load that has a free slot.</summary>
    /// <param name="plain">The experts' own slots, which stay.</param>
    public ExpertPlacement Place(ExpertPlacement plain)
    {
        long[] totals = load.Totals(layer);
        double Share(int expert) => (double)totals[expert] / replicas[expert];
        int[] slots = plain.Slots.ToArray();
        double[] loads = new double[plain.Ranks];
        for (int slot = 0; slot < slots.Length; slot++)
            if (slots[slot] >= 0)
                loads[slot / plain.SlotsPerRank] += Share(slots[slot]);
        foreach (int expert in Enumerable.Range(0, replicas.Length).Where(expert => replicas[expert] > 1).OrderByDescending(Share))
            for (int copy = 1; copy < replicas[expert]; copy++)
            {
                int slot = Emptiest(slots, plain.SlotsPerRank, loads, expert);
                slots[slot] = expert;
                loads[slot / plain.SlotsPerRank] += Share(expert);
            }
        return new ExpertPlacement(plain.Experts, plain.SlotsPerRank, slots);
    }

    /// <summary>A free slot of the least loaded rank; of ranks without the expert, if there are any: a second copy on a rank relieves nothing.</summary>
    private static int Emptiest(int[] slots, int perRank, double[] loads, int expert)
    {
        int best = -1;
        bool holds = true;
        for (int rank = 0; rank < loads.Length; rank++)
        {
            ReadOnlySpan<int> own = slots.AsSpan(rank * perRank, perRank);
            int free = own.IndexOf(-1);
            if (free < 0)
                continue;
            bool has = own.Contains(expert);
            if (best >= 0 && (has, loads[rank]).CompareTo((holds, loads[best / perRank])) >= 0)
                continue;
            (best, holds) = (rank * perRank + free, has);
        }
        return best;
    }

    /// <summary>Whether an earlier slice has the same hottest expert.</summary>
    private bool Known(int expert, int slices)
    {
        for (int slice = 0; slice < slices; slice++)
            if (first[slice].Expert == expert)
                return true;
        return false;
    }

    private double LengthWithOneMore(int expert)
    {
        double sum = 0;
        for (int slice = 0; slice < first.Length; slice++)
            sum += first[slice].Expert == expert
                ? Math.Max(second[slice].Load, (double)load.Slice(layer, slice)[expert] / (replicas[expert] + 1))
                : first[slice].Load;
        return sum;
    }

    private void Rank(int slice)
    {
        ReadOnlySpan<int> counts = load.Slice(layer, slice);
        (int Expert, double Load) best = (-1, -1), next = (-1, 0);
        for (int expert = 0; expert < counts.Length; expert++)
        {
            if (replicas[expert] >= most)
                continue;
            double share = (double)counts[expert] / replicas[expert];
            if (share > best.Load)
                (best, next) = ((expert, share), best.Load < 0 ? next : best);
            else if (share > next.Load)
                next = (expert, share);
        }
        (first[slice], second[slice]) = (best, next);
    }
}
