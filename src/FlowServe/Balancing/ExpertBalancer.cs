namespace XDeepServe.FlowServe.Balancing;

/// <summary>Decides where experts and their copies belong (EPLB, paper §4.5): pure functions of counts.</summary>
public static class ExpertBalancer
{
    /// <summary>Places all layers.</summary>
    /// <param name="load">What the experts had to do.</param>
    /// <param name="options">How.</param>
    /// <param name="current">Where they are now, for each layer; null for the plain placement without copies.</param>
    /// <returns>A placement for each layer, all with as many slots.</returns>
    /// <exception cref="ArgumentException">The settings do not go together; says which.</exception>
    public static ExpertPlacement[] Rebalance(ExpertLoad load, BalancerOptions options, IReadOnlyList<ExpertPlacement>? current = null)
    {
        ExpertPlacement plain = ExpertPlacement.Plain(load.Experts, options.Ranks, options.Redundant);
        options.Validate(load.Experts);
        ExpertPlacement[] result = new ExpertPlacement[load.Layers];
        for (int layer = 0; layer < result.Length; layer++)
        {
            ExpertPlacement homes = current is null ? plain : current[layer].Homes();
            ExpertPlacement next = options.Algorithm == BalancingAlgorithm.TimeSliced ? Greedy(load, layer, options, homes) : Packed(load, layer, options, homes);
            result[layer] = current is null ? next : next.AlignedWith(current[layer]);
        }
        return result;
    }

    /// <summary>Whether a rebalancing is worth its moves: batches are large enough, and some layer is out of balance.</summary>
    /// <param name="load">What the experts had to do.</param>
    /// <param name="placements">Where they are now, for each layer.</param>
    /// <param name="stepTokens">Mean tokens of a step, over all groups.</param>
    /// <param name="options">Threshold and least batch.</param>
    public static bool IsWorthwhile(ExpertLoad load, IReadOnlyList<ExpertPlacement> placements, double stepTokens, BalancerOptions options)
    {
        if (stepTokens < (double)options.LeastTokensPerRank * options.Ranks)
            return false;
        for (int layer = 0; layer < load.Layers; layer++)
            if (Balancedness(load, layer, placements[layer]) < options.Threshold)
                return true;
        return false;
    }

    /// <summary>Mean load of a rank beside the largest, both summed over the slices: 1 is perfect. An idle layer is in balance.</summary>
    public static double Balancedness(ExpertLoad load, int layer, ExpertPlacement placement)
    {
        double longest = Length(load, layer, placement), total = 0;
        foreach (long count in load.Totals(layer))
            total += count;
        return longest == 0 ? 1 : total / placement.Ranks / longest;
    }

    /// <summary>Load of the busiest rank, summed over the slices: what the layer takes.</summary>
    public static double Length(ExpertLoad load, int layer, ExpertPlacement placement)
    {
        double length = 0;
        for (int slice = 0; slice < load.Slices; slice++)
            length += placement.RankLoads(load.Slice(layer, slice)).Max();
        return length;
    }

    /// <summary>
    /// What <see cref="Length"/> cannot fall below with so many copies, wherever they are: in each slice no less than the mean of
    /// all ranks, and no less than the largest share when the copies are dealt for that slice alone.
    /// </summary>
    /// <param name="load">What the experts had to do.</param>
    /// <param name="layer">The layer.</param>
    /// <param name="ranks">Ranks.</param>
    /// <param name="copies">Slots beside one for each expert.</param>
    public static double LowerBound(ExpertLoad load, int layer, int ranks, int copies)
    {
        double length = 0;
        PriorityQueue<(int Count, int Slots), double> shares = new();
        for (int slice = 0; slice < load.Slices; slice++)
        {
            shares.Clear();
            double total = 0;
            foreach (int count in load.Slice(layer, slice))
            {
                total += count;
                shares.Enqueue((count, 1), -count);
            }
            for (int copy = 0; copy < copies; copy++)
            {
                (int count, int slots) = shares.Dequeue();
                shares.Enqueue((count, slots + 1), -(double)count / (slots + 1));
            }
            (int heaviest, int over) = shares.Peek();
            length += Math.Max(total / ranks, (double)heaviest / over);
        }
        return length;
    }

    private static ExpertPlacement Greedy(ExpertLoad load, int layer, BalancerOptions options, ExpertPlacement plain)
    {
        int free = plain.Slots.Count(-1);
        TimeSlicedGreedy greedy = new(load, layer, options.Ranks);
        greedy.Replicate(Math.Min(options.Budget ?? free, free));
        return greedy.Place(plain);
    }

    private static ExpertPlacement Packed(ExpertLoad load, int layer, BalancerOptions options, ExpertPlacement plain)
    {
        double[] weights = [.. load.Totals(layer)];
        return options.Algorithm == BalancingAlgorithm.Global
            ? DeepSeekPacking.Place(weights, plain.Slots.Length, 1, 1, options.Ranks)
            : DeepSeekPacking.Place(weights, plain.Slots.Length, options.Groups, options.Nodes, options.Ranks);
    }
}
