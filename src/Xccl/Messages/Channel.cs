using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Messages;

/// <summary>All lanes to and from one peer, and the asynchronous messages that wait on the first.</summary>
internal sealed class Channel
{
    /// <summary>Asynchronous messages that may wait in one direction.</summary>
    public const int QueueLength = 64;

    public Channel(PeerLink link, MappedWords own, PeerMemory ownMemory, int rank)
    {
        Senders = new SendLane[link.Region.Geometry.Lanes];
        Receivers = new ReceiveLane[Senders.Length];
        for (int lane = 0; lane < Senders.Length; lane++)
        {
            Senders[lane] = new SendLane(link, own, rank, lane);
            Receivers[lane] = new ReceiveLane(link, own, ownMemory, rank, lane);
        }
    }

    public SendLane[] Senders { get; }

    public ReceiveLane[] Receivers { get; }

    public FixedQueue<Outgoing> Sending { get; } = new(QueueLength);

    public FixedQueue<Incoming> Receiving { get; } = new(QueueLength);
}
