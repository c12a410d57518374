using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl;

/// <summary>One dispatch and its combine. Belongs to its <see cref="AllToAll"/>, which hands it out again once it is combined.</summary>
public sealed class DispatchHandle
{
    internal DispatchHandle(TokenShape shape, int ranks, int slotsPerRank)
    {
        Plan = new RoutePlan(shape, ranks, slotsPerRank, segments: 1);
        Batch = new ExpertBatch(shape, ranks);
        Sources = new nint[shape.MaxTokens];
    }

    /// <summary>The tokens that have come to this rank's experts, in order of rank; filled by EndDispatch.</summary>
    public ExpertBatch Batch { get; }

    /// <summary>Bytes of this dispatch and its combine.</summary>
    public TokenTraffic Traffic { get; internal set; }

    internal RoutePlan Plan { get; }

    internal nint[] Sources { get; }

    internal uint EventId { get; set; }

    /// <summary>The rank whose rows did not travel: this one, or -1.</summary>
    internal int Own { get; set; }

    /// <summary>Of its exchange: that of the dispatch, then that of the combine.</summary>
    internal uint Turn { get; set; }

    internal DispatchState State { get; set; }
}

/// <summary>How far a dispatch has come.</summary>
internal enum DispatchState
{
    Free,
    Announced,
    Received,
    Returned,
}
