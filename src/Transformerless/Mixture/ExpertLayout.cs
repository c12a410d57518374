using XDeepServe.FlowServe.Balancing;
using XDeepServe.Models;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Which expert of which layer is in which slot of which rank. Never changes; a rebalancing makes another.</summary>
public sealed class ExpertLayout
{
    private readonly IReadOnlyList<ExpertPlacement> placements; // [layers with experts]

    /// <summary>Takes placements, all with as many slots.</summary>
    /// <param name="layers">Layers with routed experts, rising.</param>
    /// <param name="placements">One for each of them.</param>
    /// <param name="shared">Whether every rank has the shared experts of all layers, too.</param>
    public ExpertLayout(IReadOnlyList<int> layers, IReadOnlyList<ExpertPlacement> placements, bool shared = false)
    {
        if (layers.Count == 0 || layers.Count != placements.Count || placements.Any(one => one.Slots.Length != placements[0].Slots.Length || one.SlotsPerRank != placements[0].SlotsPerRank))
            throw new ArgumentException($"{placements.Count} placements do not fit {layers.Count} layers with experts: one for each, all with as many slots.");
        (Layers, this.placements, Shared) = (layers, placements, shared);
    }

    /// <summary>Layers with routed experts, rising.</summary>
    public IReadOnlyList<int> Layers { get; }

    /// <summary>Slots of each rank for routed experts.</summary>
    public int SlotsPerRank => placements[0].SlotsPerRank;

    /// <summary>Whether every rank has the shared experts of all layers, too: behind its slots, and never moved.</summary>
    public bool Shared { get; }

    /// <summary>Slots of each rank as rows are sent to them: those for routed experts, then that of the shared ones, if it has them.</summary>
    public int TargetsPerRank => SlotsPerRank + (Shared ? 1 : 0);

    /// <summary>Ranks that hold experts.</summary>
    public int Ranks => placements[0].Ranks;

    /// <summary>The placement of a layer's routed experts, counted among those with experts.</summary>
    public ExpertPlacement this[int place] => placements[place];

    /// <summary>Where a layer's rows are sent: its placement, and if ranks have the shared experts, these as one more expert with a copy on each.</summary>
    public ExpertPlacement Targets(int place)
    {
        ExpertPlacement routed = placements[place];
        return !Shared ? routed : new ExpertPlacement(
            routed.Experts + 1, TargetsPerRank, [.. Enumerable.Range(0, Ranks).SelectMany(rank => (int[])[.. Rows(place, rank), routed.Experts])]);
    }

    /// <summary>One slot for each expert, as even as it gets.</summary>
    /// <param name="config">The model; it has experts.</param>
    /// <param name="ranks">Ranks that hold experts.</param>
    /// <param name="redundant">Empty slots of each rank beside those for its experts.</param>
    /// <param name="shared">As for the constructor.</param>
    public static ExpertLayout Plain(ModelConfig config, int ranks, int redundant = 0, bool shared = false)
    {
        ExpertPlacement plain = ExpertPlacement.Plain(config.Experts!.Count, ranks, redundant);
        IReadOnlyList<int> layers = ExpertShelf.LayersOf(config);
        return new ExpertLayout(layers, [.. layers.Select(_ => plain)], shared);
    }

    /// <summary>
    /// A layout of what ranks hold. Experts that nobody holds get free slots of the ranks with the fewest; where there are none, those
    /// of copies; where there are none of these either, every rank gets more. All else stays. The same on all who ask.
    /// </summary>
    /// <param name="layers">Layers with routed experts, rising.</param>
    /// <param name="experts">Experts of a layer.</param>
    /// <param name="rows"><c>[layers][ranks]</c>: the expert of each slot, -1 for none.</param>
    /// <param name="moved">Experts of layers that nobody held: a rank has to load each.</param>
    /// <param name="shared">As for the constructor.</param>
    public static ExpertLayout Complete(IReadOnlyList<int> layers, int experts, int[][][] rows, out int moved, bool shared = false)
    {
        moved = 0;
        List<int>[][] filled = [.. rows.Select(layer => layer.Select(slots => slots.ToList()).ToArray())];
        foreach (List<int>[] ranks in filled)
        {
            int[] copies = new int[experts];
            foreach (int expert in ranks.SelectMany(slots => slots).Where(expert => expert >= 0))
                copies[expert]++;
            for (int expert = 0; expert < experts; expert++)
            {
                if (copies[expert] > 0)
                    continue;
                copies[expert] = 1;
                List<int> taker = ranks.OrderBy(slots => FreeSlot(slots, copies) is >= 0 and int slot ? slots[slot] < 0 ? 0 : 1 : 2).ThenBy(slots => slots.Count(held => held >= 0)).First();
                int free = FreeSlot(taker, copies);
                if (free < 0)
                {
                    taker.Add(expert);
                }
                else
                {
                    if (taker[free] >= 0)
                        copies[taker[free]]--;
                    taker[free] = expert;
                }
                moved++;
            }
        }
        int perRank = filled.Max(ranks => ranks.Max(slots => slots.Count));
        return new ExpertLayout(layers, [.. filled.Select(ranks => new ExpertPlacement(
            experts, perRank, [.. ranks.SelectMany(slots => slots.Concat(Enumerable.Repeat(-1, perRank - slots.Count)))]))], shared);
    }

    /// <summary>The same with another placement of one layer.</summary>
    public ExpertLayout With(int place, ExpertPlacement placement)
    {
        ExpertPlacement[] next = [.. placements];
        next[place] = placement;
        return new ExpertLayout(Layers, next, Shared);
    }

    /// <summary>The expert of each slot of a rank, -1 for none.</summary>
    public ReadOnlySpan<int> Rows(int place, int rank) => placements[place].Slots.Slice(rank * SlotsPerRank, SlotsPerRank);

    /// <summary>A layer's number among those with experts.</summary>
    /// <exception cref="ArgumentException">It has none.</exception>
    public int PlaceOf(int layer)
    {
        for (int place = 0; place < Layers.Count; place++)
            if (Layers[place] == layer)
                return place;
        throw new ArgumentException($"Layer {layer} has no routed experts.");
    }

    /// <summary>An empty slot; else one whose expert has another; -1 for none.</summary>
    private static int FreeSlot(List<int> slots, int[] copies)
    {
        int free = slots.IndexOf(-1);
        return free >= 0 ? free : slots.FindIndex(expert => copies[expert] > 1);
    }
}
