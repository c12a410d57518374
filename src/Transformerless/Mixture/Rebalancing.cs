using System.Globalization;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// One decision of the expert balancer and its moves, hand in hand on all ranks (paper §4.5): what groups have counted adds up, all
/// work out the same placement, and layers are changed one after another in four phases, so that little memory is needed beside
/// and no step waits for more than a layer's copies.
/// </summary>
internal static class Rebalancing
{
    private const double LeastGain = 0.02; // of a layer's length: less is not worth a move

    /// <summary>Decides and moves.</summary>
    /// <param name="board">This rank's.</param>
    /// <param name="all">All ranks of the service.</param>
    /// <param name="place">Who they are.</param>
    /// <param name="layout">Where experts are.</param>
    /// <param name="asked">How to balance.</param>
    /// <param name="stepTokens">Mean tokens of a step, over all groups.</param>
    /// <param name="exchange">This rank's way to the experts; null if it has no attention.</param>
    /// <param name="held">This rank's experts; null if it has none.</param>
    /// <param name="log">Gets a line if something was moved.</param>
    /// <param name="cancel">Ends the waits.</param>
    /// <exception cref="PeerLostException">A rank has gone: what is under way is void.</exception>
    public static void Run(
        PlacementBoard board, Collectives all, EpochGroup place, ExpertLayout layout, BalancerOptions asked, double stepTokens,
        ExpertExchange? exchange, HeldExperts? held, Action<string>? log, CancellationToken cancel)
    {
        ExpertLoad load = Gather(all, place.Epoch.Ranks, layout, asked.Slices, exchange, cancel);
        int experts = layout[0].Experts;
        BalancerOptions options = asked with { Ranks = layout.Ranks, Redundant = Math.Max(0, layout.SlotsPerRank - ((experts + layout.Ranks - 1) / layout.Ranks)) };
        if (!options.HasEvenNodes(experts))
            options = options with { Nodes = 1 }; // ranks are gone, and what is left of the nodes is uneven
        ExpertPlacement[] current = [.. Enumerable.Range(0, layout.Layers.Count).Select(layer => layout[layer])], next = current;
        if (ExpertBalancer.IsWorthwhile(load, current, stepTokens, options))
        {
            next = ExpertBalancer.Rebalance(load, options, current);
            for (int layer = 0; layer < next.Length; layer++)
                if (ExpertBalancer.Length(load, layer, next[layer]) > ExpertBalancer.Length(load, layer, current[layer]) * (1 - LeastGain))
                    next[layer] = current[layer];
        }
        // A layer that stays as it is shows what its last change was good for.
        ExpertPlacement[] before = [.. current.Select((placement, layer) => next[layer] == placement ? board.Replaced(layer, placement) : placement)];
        if (load.Counts.ContainsAnyExcept(0) || board.Metrics.Layers.Count == 0) // what a load was like is told until there is another
            board.Metrics.Layers = [.. layout.Layers.Select((number, layer) => new LayerBalance(
                number, ExpertBalancer.Balancedness(load, layer, before[layer]), ExpertBalancer.Balancedness(load, layer, next[layer]),
                load.Totals(layer), Copies(before[layer]), Copies(next[layer])))];
        board.Replaces(before);
        int moved = 0;
        long bytesBefore = held?.LoadedBytes ?? 0;
        int expertRank = held is null ? -1 : place.Group.Rank - (place.Epoch.Colocated ? 0 : place.Epoch.Attention.Count);
        for (int layer = 0; layer < next.Length; layer++)
        {
            foreach (PlacementWave wave in PlacementWave.Between(current[layer], next[layer]))
            {
                layout = Apply(board, all, layout, layer, wave, held, expertRank, cancel);
                moved += wave.Moves.Count;
            }
        }
        if (moved == 0)
            return;
        long[] bytes = new long[place.Epoch.Ranks];
        long own = (held?.LoadedBytes ?? 0) - bytesBefore;
        all.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<long>(ref own)), MemoryMarshal.AsBytes(bytes.AsSpan()), cancel: cancel);
        MixtureMetrics metrics = board.Metrics;
        (metrics.Moves, metrics.Bytes, metrics.Rebalancings) = (metrics.Moves + moved, metrics.Bytes + bytes.Sum(), metrics.Rebalancings + 1);
        log?.Invoke(string.Create(CultureInfo.InvariantCulture, $"Loaded {moved} copies of experts ({bytes.Sum() / 1e6:0.0} MB): balancedness from {metrics.Layers.Average(one => one.Before):0.00} to {metrics.Layers.Average(one => one.After):0.00}."));
    }

    /// <summary>The four phases: prefetch, disable the slots, load, restore.</summary>
    private static ExpertLayout Apply(
        PlacementBoard board, Collectives all, ExpertLayout layout, int layer, PlacementWave wave, HeldExperts? held, int rank, CancellationToken cancel)
    {
        ReplicaMove[] own = held is null ? [] : [.. wave.Moves.Where(move => move.Slot / layout.SlotsPerRank == rank).Select(move => move with { Slot = move.Slot % layout.SlotsPerRank })];
        if (own.Length > 0)
            held!.Stage([.. Enumerable.Range(0, layout.Layers.Count).Select(number => number == layer ? own : [])]);
        all.Barrier(cancel: cancel);
        board.Route(layout.With(layer, wave.Disabled), layer);
        all.Barrier(cancel: cancel);
        if (own.Length > 0)
            board.AtBoundary(held!.Swap);
        all.Barrier(cancel: cancel);
        ExpertLayout restored = layout.With(layer, wave.Restored);
        board.Route(restored, layer);
        return restored;
    }

    /// <summary>Adds up what all ranks have counted: the same on all of them.</summary>
    private static ExpertLoad Gather(Collectives all, int ranks, ExpertLayout layout, int slices, ExpertExchange? exchange, CancellationToken cancel)
    {
        const int Most = 1024; // counts in a record
        ExpertLoad own = new(layout.Layers.Count, layout[0].Experts, slices), sum = new(layout.Layers.Count, layout[0].Experts, slices);
        exchange?.CopyLoad(own);
        int[] gathered = new int[Most * ranks];
        for (int start = 0; start < own.Counts.Length; start += Most)
        {
            int count = Math.Min(Most, own.Counts.Length - start);
            all.AllGather(MemoryMarshal.AsBytes(own.Counts.Slice(start, count)), MemoryMarshal.AsBytes(gathered.AsSpan(0, count * ranks)), cancel: cancel);
            for (int i = 0; i < count * ranks; i++)
                sum.Counts[start + (i % count)] += gathered[i];
        }
        return sum;
    }

    private static int[] Copies(ExpertPlacement placement) => [.. Enumerable.Range(0, placement.Experts).Select(expert => placement.SlotsOf(expert).Length)];
}
