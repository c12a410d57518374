namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// DeepSeek's EPLB: copies by total load, then packing of equally many slots on each rank, heaviest first. The hierarchical form
/// first packs groups of experts onto nodes and then works within each; one node and one group make the global form.
/// </summary>
internal static class DeepSeekPacking
{
    /// <summary>Places a layer's experts.</summary>
    /// <param name="weights">Load of each expert.</param>
    /// <param name="slots">Physical slots; at least as many as experts, a multiple of the ranks.</param>
    /// <param name="groups">Groups of experts; a multiple of the nodes that divides the experts.</param>
    /// <param name="nodes">Nodes; divide the ranks.</param>
    /// <param name="ranks">Ranks.</param>
    public static ExpertPlacement Place(ReadOnlySpan<double> weights, int slots, int groups, int nodes, int ranks)
    {
        int experts = weights.Length, perGroup = experts / groups, perNode = experts / nodes, nodeSlots = slots / nodes, perRank = slots / ranks;
        double[] groupWeights = new double[groups];
        for (int expert = 0; expert < experts; expert++)
            groupWeights[expert / perGroup] += weights[expert];
        int[] groupPlaces = Pack(groupWeights, nodes);
        int[] order = new int[experts]; // experts in the order in which nodes hold them
        for (int expert = 0; expert < experts; expert++)
            order[groupPlaces[expert / perGroup] * perGroup + expert % perGroup] = expert;

        int[] result = new int[slots];
        double[] own = new double[perNode], shares = new double[nodeSlots];
        for (int node = 0; node < nodes; node++)
        {
            ReadOnlySpan<int> members = order.AsSpan(node * perNode, perNode);
            for (int i = 0; i < perNode; i++)
                own[i] = weights[members[i]];
            (int[] copies, int[] counts) = Replicate(own, nodeSlots);
            for (int i = 0; i < nodeSlots; i++)
                shares[i] = own[copies[i]] / counts[copies[i]];
            int[] places = Pack(shares, ranks / nodes);
            for (int i = 0; i < nodeSlots; i++)
                result[node * nodeSlots + places[i]] = members[copies[i]];
        }
        return new ExpertPlacement(experts, perRank, result);
    }

    /// <summary>Gives one copy after the other to the expert with the largest share.</summary>
    private static (int[] Copies, int[] Counts) Replicate(double[] weights, int slots)
    {
        int[] copies = new int[slots], counts = new int[weights.Length];
        for (int slot = 0; slot < slots; slot++)
        {
            int chosen = slot;
            if (slot >= weights.Length)
            {
                chosen = 0;
                for (int expert = 1; expert < weights.Length; expert++)
                    if (weights[expert] / counts[expert] > weights[chosen] / counts[chosen])
                        chosen = expert;
            }
            copies[slot] = chosen;
            counts[chosen]++;
        }
        return (copies, counts);
    }

    /// <summary>Packs items into equally many places of each pack, heaviest first into the lightest pack with a free place.</summary>
    /// <returns>Each item's place; place p belongs to pack p / (items / packs).</returns>
    private static int[] Pack(double[] weights, int packs)
    {
        int perPack = weights.Length / packs;
        int[] places = [.. Enumerable.Range(0, weights.Length)];
        if (perPack == 1)
            return places;
        int[] items = new int[packs];
        double[] loads = new double[packs];
        foreach (int item in Enumerable.Range(0, weights.Length).OrderByDescending(item => weights[item]))
        {
            int pack = -1;
            for (int i = 0; i < packs; i++)
                if (items[i] < perPack && (pack < 0 || loads[i] < loads[pack]))
                    pack = i;
            places[item] = pack * perPack + items[pack]++;
            loads[pack] += weights[item];
        }
        return places;
    }
}
