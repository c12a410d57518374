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
    public ExpertLayout(IReadOnlyList<int> layers, IReadOnlyList<ExpertPlacement> placements)
    {
        if (layers.Count == 0 || layers.Count != placements.Count || placements.Any(one => one.Slots.Length != placements[0].Slots.Length || one.SlotsPerRank != placements[0].SlotsPerRank))
            throw new ArgumentException($"{placements.Count} placements do not fit {layers.Count} layers with experts: one for each, all with as many slots.");
        (Layers, this.placements) = (layers, placements);
    }

    /// <summary>Layers with routed experts, rising.</summary>
    public IReadOnlyList<int> Layers { get; }

    /// <summary>Slots of each rank.</summary>
    public int SlotsPerRank => placements[0].SlotsPerRank;

    /// <summary>Ranks that hold experts.</summary>
    public int Ranks => placements[0].Ranks;

    /// <summary>The placement of a layer, counted among those with experts.</summary>
    public ExpertPlacement this[int place] => placements[place];

    /// <summary>One slot for each expert, as even as it gets.</summary>
    /// <param name="config">The model.</param>
    /// <param name="ranks">Ranks that hold experts.</param>
    /// <param name="redundant">Empty slots of each rank beside those for its experts.</param>
    /// <exception cref="ArgumentException">The model has no experts.</exception>
    public static ExpertLayout Plain(ModelConfig config, int ranks, int redundant = 0)
    {
        if (config.Experts is not { } experts)
            throw new ArgumentException("The model has no experts: attention and experts cannot be apart. Serve it colocated.");
        ExpertPlacement plain = ExpertPlacement.Plain(experts.Count, ranks, redundant);
        IReadOnlyList<int> layers = ExpertShelf.LayersOf(config);
        return new ExpertLayout(layers, [.. layers.Select(_ => plain)]);
    }

    /// <summary>
    /// What is left when ranks are gone. Slots of the others stay as they are; experts that have none left get free slots of the
    /// ranks with the fewest experts, and where there are no free ones, every rank gets more. The same on all who ask.
    /// </summary>
    /// <param name="lost">Ranks that are gone.</param>
    /// <param name="moved">Experts of layers that had no slot left: a rank has to load each.</param>
    /// <exception cref="ArgumentException">No rank is left.</exception>
    public ExpertLayout Without(IReadOnlyCollection<int> lost, out int moved)
    {
        int[] left = [.. Enumerable.Range(0, Ranks).Where(rank => !lost.Contains(rank))];
        if (left.Length == 0)
            throw new ArgumentException("All ranks that hold experts are gone.");
        moved = 0;
        List<int>[][] layers = new List<int>[Layers.Count][]; // [layers][ranks left]: expert of each slot
        for (int place = 0; place < layers.Length; place++)
        {
            List<int>[] ranks = layers[place] = [.. left.Select(rank => placements[place].Slots.Slice(rank * SlotsPerRank, SlotsPerRank).ToArray().ToList())];
            for (int expert = 0; expert < placements[place].Experts; expert++)
            {
                if (ranks.Any(slots => slots.Contains(expert)))
                    continue;
                List<int> taker = ranks.OrderBy(slots => slots.Count(held => held >= 0)).First();
                int free = taker.IndexOf(-1);
                if (free >= 0)
                    taker[free] = expert;
                else
                    taker.Add(expert);
                moved++;
            }
        }
        int perRank = layers.Max(ranks => ranks.Max(slots => slots.Count));
        return new ExpertLayout(Layers, [.. layers.Select((ranks, place) => new ExpertPlacement(
            placements[place].Experts, perRank, [.. ranks.SelectMany(slots => slots.Concat(Enumerable.Repeat(-1, perRank - slots.Count)))]))]);
    }

    /// <summary>A layer's number among those with experts.</summary>
    /// <exception cref="ArgumentException">It has none.</exception>
    public int PlaceOf(int layer)
    {
        for (int place = 0; place < Layers.Count; place++)
            if (Layers[place] == layer)
                return place;
        throw new ArgumentException($"Layer {layer} has no routed experts.");
    }

    /// <summary>What a rank holds: the expert of each of its slots. Slots without one get one of its others, so that a weight is there to be replaced.</summary>
    /// <param name="layer">The layer's number in the model.</param>
    /// <param name="rank">The rank, counted among those with experts.</param>
    public int[] Held(int layer, int rank)
    {
        ReadOnlySpan<int> slots = placements[PlaceOf(layer)].Slots.Slice(rank * SlotsPerRank, SlotsPerRank);
        int[] held = slots.ToArray();
        int any = Math.Max(0, held.Max());
        for (int slot = 0; slot < held.Length; slot++)
            held[slot] = held[slot] < 0 ? any : held[slot];
        return held;
    }
}
