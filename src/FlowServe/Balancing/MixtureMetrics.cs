namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// What ranks that share experts have done: where their time goes, who is slow, how experts are spread. Written by the thread that
/// hears from all ranks, read by any: each property is whole in itself.
/// </summary>
public sealed class MixtureMetrics
{
    private IReadOnlyList<RankStages> ranks = [];
    private IReadOnlyList<LayerBalance> layers = [];
    private long moves, bytes, rebalancings, longestStall, recoveries;
    private volatile bool speaks;

    /// <summary>Whether this rank is the one that tells the metrics of all: they know the same.</summary>
    public bool Speaks
    {
        get => speaks;
        set => speaks = value;
    }

    /// <summary>All ranks, as they have last told.</summary>
    public IReadOnlyList<RankStages> Ranks
    {
        get => Volatile.Read(ref ranks);
        set => Volatile.Write(ref ranks, value);
    }

    /// <summary>Layers with experts at the last decision of the balancer; none before it.</summary>
    public IReadOnlyList<LayerBalance> Layers
    {
        get => Volatile.Read(ref layers);
        set => Volatile.Write(ref layers, value);
    }

    /// <summary>Experts loaded into slots because of their load.</summary>
    public long Moves
    {
        get => Volatile.Read(ref moves);
        set => Volatile.Write(ref moves, value);
    }

    /// <summary>Bytes of their weights.</summary>
    public long Bytes
    {
        get => Volatile.Read(ref bytes);
        set => Volatile.Write(ref bytes, value);
    }

    /// <summary>Times that the balancer has moved experts.</summary>
    public long Rebalancings
    {
        get => Volatile.Read(ref rebalancings);
        set => Volatile.Write(ref rebalancings, value);
    }

    /// <summary>Longest time for which such a move has kept any rank from its work.</summary>
    public TimeSpan LongestStall
    {
        get => TimeSpan.FromTicks(Volatile.Read(ref longestStall));
        set => Volatile.Write(ref longestStall, value.Ticks);
    }

    /// <summary>Times that ranks have agreed anew on who has which experts, because some were gone or had come.</summary>
    public long Recoveries
    {
        get => Volatile.Read(ref recoveries);
        set => Volatile.Write(ref recoveries, value);
    }
}

/// <summary>Where a rank's time goes.</summary>
/// <param name="Name">Such as attention-0 or expert-1.</param>
/// <param name="Stages">Seconds of each stage since the rank began.</param>
/// <param name="Batches">Batches that went through them.</param>
/// <param name="Slow">Whether it keeps others waiting: see the log.</param>
public sealed record RankStages(string Name, IReadOnlyList<(string Stage, double Seconds)> Stages, long Batches, bool Slow);

/// <summary>How a layer's experts are spread.</summary>
/// <param name="Layer">Number in the model.</param>
/// <param name="Before">Balancedness (mean over largest load of a rank) with the placement that the layer's last change replaced; if there was none, the present one.</param>
/// <param name="After">The same with the one that the decision chose, or left.</param>
/// <param name="Tokens">Tokens of each expert in the slices that it looked at.</param>
/// <param name="SlotsBefore">Slots of each expert before that change.</param>
/// <param name="Slots">Slots of each expert now.</param>
public sealed record LayerBalance(int Layer, double Before, double After, IReadOnlyList<long> Tokens, IReadOnlyList<int> SlotsBefore, IReadOnlyList<int> Slots);
