using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Rows on their way through an expert rank: received, computed, returned. Two to a lane, used in turn.</summary>
/// <param name="lane">Where they came from.</param>
internal sealed class ExpertParcel(ExpertLane lane)
{
    private volatile bool busy;

    /// <summary>Where they came from.</summary>
    public ExpertLane Lane => lane;

    /// <summary>Rows [received rows, hidden].</summary>
    public byte[] Received { get; set; } = [];

    /// <summary>Answers [received rows, topK, hidden].</summary>
    public byte[] Outputs { get; set; } = [];

    /// <summary>What has come; null for a change of the experts.</summary>
    public ExpertBatch? Batch { get; set; }

    /// <summary>On its way; false once it has been returned or dropped.</summary>
    public bool Busy
    {
        get => busy;
        set => busy = value;
    }

    /// <summary>When it had been received, in ticks of the clock.</summary>
    public long ReceivedAt { get; set; }
}
