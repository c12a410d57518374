using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>A failure of a peer, or of what it and this rank have agreed on.</summary>
/// <param name="rank">The peer.</param>
/// <param name="message">What happened and what to do.</param>
public class XcclException(int rank, string message) : IOException(message)
{
    /// <summary>The peer that it is about.</summary>
    public int PeerRank { get; } = rank;
}

/// <summary>A peer has died or left: nothing more comes from it until it has joined again.</summary>
/// <param name="rank">The peer.</param>
/// <param name="left">It left in order.</param>
public sealed class PeerLostException(int rank, bool left)
    : XcclException(rank, left ? $"Rank {rank} has left the group." : $"Rank {rank} has died. Start it again and call Rejoin on every rank.");

/// <summary>A message that cannot be received: another event, too large, or given up by its sender.</summary>
/// <param name="rank">The peer.</param>
/// <param name="message">What happened.</param>
public sealed class MessageException(int rank, string message) : XcclException(rank, message);

/// <summary>A peer lives but has not answered in time.</summary>
public sealed class XcclTimeoutException : XcclException
{
    internal XcclTimeoutException(int rank, uint eventId, TimeSpan timeout, Awaited awaited)
        : base(rank, $"Rank {rank} {Missing(awaited)} within {timeout.TotalSeconds:0.###} s (event {eventId}).") => EventId = eventId;

    /// <summary>The event that was waited for.</summary>
    public uint EventId { get; }

    private static string Missing(Awaited awaited) => awaited switch
    {
        Awaited.Region => "did not start",
        Awaited.Link => "did not map this rank's region",
        Awaited.Room => "did not make room for a message",
        Awaited.Acknowledgement => "did not acknowledge a message",
        Awaited.Message => "sent no message",
        Awaited.Block => "announced no block",
        Awaited.Release => "did not release a block",
        _ => "sent no record",
    };
}
