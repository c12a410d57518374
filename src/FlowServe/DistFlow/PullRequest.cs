using System.Runtime.InteropServices;

namespace XDeepServe.FlowServe.DistFlow;

/// <summary>What the side that pulls asks for. 32 bytes: travels in a field of XCCL, without a ring.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PullRequest
{
    /// <summary>Event under which it travels.</summary>
    public const uint Event = 1;

    /// <summary>Names the hold.</summary>
    public long Number;

    /// <summary>The asker's <see cref="KvPort.Fingerprint"/>.</summary>
    public ulong Fingerprint;

    /// <summary>DP group of the hold.</summary>
    public short Group;

    /// <summary>What is asked.</summary>
    public PullKind Kind;

    /// <summary>First position.</summary>
    public int From;

    /// <summary>Behind the last position.</summary>
    public int To;
}

/// <summary>What a request asks.</summary>
internal enum PullKind : short
{
    /// <summary>Send the positions, then free the hold.</summary>
    Pull,

    /// <summary>Free the hold; there is no answer.</summary>
    Release,

    /// <summary>Answer at once: is the link alive?</summary>
    Probe,
}

/// <summary>What comes back before any bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PullAnswer
{
    /// <summary>Event under which it travels.</summary>
    public const uint Event = 2;

    /// <summary>Event of the chunks behind it, in order.</summary>
    public const uint ChunkEvent = 3;

    /// <summary>Whether chunks follow.</summary>
    public PullStatus Status;

    /// <summary>Bytes of each chunk but the last.</summary>
    public int ChunkBytes;
}

/// <summary>How a pull ended.</summary>
public enum PullStatus
{
    /// <summary>The bytes are there.</summary>
    Done,

    /// <summary>Nothing is held under that number (any more).</summary>
    Gone,

    /// <summary>The other side's cache has another layout: another model or type.</summary>
    OtherLayout,

    /// <summary>Given up by this side.</summary>
    Cancelled,

    /// <summary>The link broke: the peer died, left or took too long.</summary>
    Lost,
}
