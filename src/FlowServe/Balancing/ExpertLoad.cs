namespace XDeepServe.FlowServe.Balancing;

/// <summary>How many tokens each expert of each layer got in each slice of time (paper §4.5). Of one DP group, or of many added up.</summary>
public sealed class ExpertLoad
{
    private readonly int[] counts; // [layers, slices, experts]

    /// <summary>No tokens yet.</summary>
    /// <param name="layers">Layers with routed experts.</param>
    /// <param name="experts">Routed experts of a layer.</param>
    /// <param name="slices">Slices of time.</param>
    public ExpertLoad(int layers, int experts, int slices)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(experts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slices);
        (Layers, Experts, Slices) = (layers, experts, slices);
        counts = new int[layers * slices * experts];
    }

    /// <summary>Layers with routed experts.</summary>
    public int Layers { get; }

    /// <summary>Routed experts of a layer.</summary>
    public int Experts { get; }

    /// <summary>Slices of time.</summary>
    public int Slices { get; }

    /// <summary>Everything, <c>[layers, slices, experts]</c>: what groups send to the TE-shell.</summary>
    public Span<int> Counts => counts;

    /// <summary>Tokens of each expert of a layer in one slice, <c>[experts]</c>.</summary>
    public Span<int> Slice(int layer, int slice) => counts.AsSpan((layer * Slices + slice) * Experts, Experts);

    /// <summary>Tokens of each expert of a layer over all slices, <c>[experts]</c>.</summary>
    public long[] Totals(int layer)
    {
        long[] totals = new long[Experts];
        for (int slice = 0; slice < Slices; slice++)
            for (int expert = 0; expert < Experts; expert++)
                totals[expert] += Slice(layer, slice)[expert];
        return totals;
    }

    /// <summary>Adds what another group counted in the same slices.</summary>
    /// <exception cref="ArgumentException">The other load has another shape.</exception>
    public void Add(ExpertLoad other)
    {
        if ((other.Layers, other.Experts, other.Slices) != (Layers, Experts, Slices))
            throw new ArgumentException($"A load of {other.Layers} layers, {other.Experts} experts and {other.Slices} slices cannot be added to one of {Layers}, {Experts} and {Slices}.");
        for (int i = 0; i < counts.Length; i++)
            counts[i] += other.counts[i];
    }
}
