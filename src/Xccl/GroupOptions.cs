using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>How a rank joins its group.</summary>
public sealed record GroupOptions
{
    /// <summary>Name of the group on this host: letters, digits, underscores. Ranks meet by it.</summary>
    public required string Name { get; init; }

    /// <summary>This rank, from 0.</summary>
    public required int Rank { get; init; }

    /// <summary>What all ranks agree on.</summary>
    public required RegionGeometry Geometry { get; init; }

    /// <summary>What waits do. Ranks of one group may differ.</summary>
    public WaitStrategy Strategy { get; init; }

    /// <summary>How long an operation waits for a peer that lives but does not answer, unless it is given its own time.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a rank waits for the others when it joins.</summary>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(60);
}
