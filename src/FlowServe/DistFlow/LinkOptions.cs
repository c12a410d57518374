using XDeepServe.Xccl;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>Settings of links between Task Executors; both ends have the same.</summary>
public sealed record LinkOptions
{
    /// <summary>Bytes that are copied out of the cache and into the other at a time, a multiple of 64; a link keeps twice as many.</summary>
    public int ChunkBytes { get; init; } = 512 << 10;

    /// <summary>Longest wait for a peer that lives but does not answer; then the link is given up.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Have the executor's thread copy between steps even where any thread may.</summary>
    internal bool CopyBetweenSteps { get; init; }

    /// <summary>A group of two, small enough for many links: rings for requests and answers, an app area for two chunks; sleeping while nothing is asked.</summary>
    internal GroupOptions Group(string name, int rank) => new()
    {
        Name = name,
        Rank = rank,
        Geometry = new RegionGeometry { Ranks = 2, Slots = 16, SlotBytes = 64, AppBytes = 2L * ChunkBytes },
        Strategy = WaitStrategy.Block,
        Timeout = Patience,
        JoinTimeout = Patience,
    };
}
