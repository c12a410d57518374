namespace XDeepServe.FlowServe.Balancing;

/// <summary>How experts are replicated and placed.</summary>
public enum BalancingAlgorithm
{
    /// <summary>xDeepServe's greedy search over slices of time: experts' own slots stay, copies go into free slots.</summary>
    TimeSliced,

    /// <summary>DeepSeek's for large groups (decode): by total counts, any slot for any expert.</summary>
    Global,

    /// <summary>DeepSeek's for few nodes (prefill): groups of experts are dealt to nodes first, so that traffic stays within them.</summary>
    Hierarchical,
}

/// <summary>Settings of the expert balancer (EPLB).</summary>
public sealed record BalancerOptions
{
    /// <summary>How.</summary>
    public BalancingAlgorithm Algorithm { get; init; } = BalancingAlgorithm.TimeSliced;

    /// <summary>Ranks that hold experts.</summary>
    public required int Ranks { get; init; }

    /// <summary>Slots for copies on each rank, beside those for the experts themselves.</summary>
    public int Redundant { get; init; } = 1;

    /// <summary>Most copies in a layer (the paper's R); null for as many as there are free slots. DeepSeek's algorithms fill all slots.</summary>
    public int? Budget { get; init; }

    /// <summary>Nodes, for <see cref="BalancingAlgorithm.Hierarchical"/>: neighbouring ranks share one.</summary>
    public int Nodes { get; init; } = 1;

    /// <summary>Groups of experts, for <see cref="BalancingAlgorithm.Hierarchical"/>.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Slices of time that a decision looks at.</summary>
    public int Slices { get; init; } = 10;

    /// <summary>Time between decisions.</summary>
    public TimeSpan Period { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Nothing is moved while the mean load is at least this share of the largest; 1 to move always.</summary>
    public double Threshold { get; init; } = 0.9;

    /// <summary>Nothing is moved while steps have fewer tokens for each rank: small batches gain less than the moves cost.</summary>
    public int LeastTokensPerRank { get; init; } = 128;

    /// <summary>Whether groups of experts can be dealt to nodes evenly.</summary>
    /// <param name="experts">Experts of a layer.</param>
    public bool HasEvenNodes(int experts) =>
        Groups >= 1 && Nodes >= 1 && experts % Groups == 0 && Groups % Nodes == 0 && Ranks % Nodes == 0;

    /// <summary>Checks the settings against a model.</summary>
    /// <param name="experts">Experts of a layer.</param>
    /// <exception cref="ArgumentException">They do not go together; says which.</exception>
    public void Validate(int experts)
    {
        if (Algorithm == BalancingAlgorithm.Hierarchical && !HasEvenNodes(experts))
            throw new ArgumentException(
                $"Hierarchical balancing needs groups that divide {experts} experts, and nodes that divide both groups and ranks, not {Groups} groups, {Nodes} nodes and {Ranks} ranks. Choose the global algorithm.");
    }
}
