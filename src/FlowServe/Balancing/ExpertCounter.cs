namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Counts the tokens of each expert for one DP group in slices of time, the last few of which it remembers. Belongs to one
/// thread; costs one addition for each (token, expert) and allocates nothing while it counts.
/// </summary>
public sealed class ExpertCounter
{
    private readonly int[] counts; // [slices, layers, experts]: a ring, so that a slice is cleared in one piece
    private readonly int layers, experts, slices;
    private int current;

    /// <summary>Nothing counted.</summary>
    /// <param name="layers">Layers with routed experts.</param>
    /// <param name="experts">Routed experts of a layer.</param>
    /// <param name="slices">Slices that are remembered, the current one included.</param>
    public ExpertCounter(int layers, int experts, int slices)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(experts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slices);
        (this.layers, this.experts, this.slices) = (layers, experts, slices);
        counts = new int[slices * layers * experts];
    }

    /// <summary>Counts what a router chose.</summary>
    /// <param name="layer">The layer, counted among those with routed experts.</param>
    /// <param name="ids">Logical experts, <c>[tokens, topK]</c>; negative ones stand for none.</param>
    public void Count(int layer, ReadOnlySpan<int> ids)
    {
        Span<int> row = Row(current, layer);
        foreach (int id in ids)
            if (id >= 0)
                row[id]++;
    }

    /// <summary>Adds what a device counted since the last time, <c>[experts]</c>.</summary>
    public void Add(int layer, ReadOnlySpan<int> more)
    {
        Span<int> row = Row(current, layer);
        for (int expert = 0; expert < row.Length; expert++)
            row[expert] += more[expert];
    }

    /// <summary>Begins the next slice; forgets the oldest.</summary>
    public void Advance()
    {
        current = (current + 1) % slices;
        counts.AsSpan(current * layers * experts, layers * experts).Clear();
    }

    /// <summary>Copies the remembered slices, oldest first.</summary>
    /// <param name="load">Receives them; as many layers, experts and slices.</param>
    public void CopyTo(ExpertLoad load)
    {
        for (int slice = 0; slice < slices; slice++)
            for (int layer = 0; layer < layers; layer++)
                Row((current + 1 + slice) % slices, layer).CopyTo(load.Slice(layer, slice));
    }

    private Span<int> Row(int slice, int layer) => counts.AsSpan((slice * layers + layer) * experts, experts);
}
