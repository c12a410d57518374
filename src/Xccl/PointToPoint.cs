using XDeepServe.Kernels.Cpu;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>
/// Messages between two ranks, in the order in which they were sent. The sender copies chunks into a ring in the receiver's
/// memory and moves its tail; the receiver copies them out and acknowledges; the two copies overlap chunk by chunk. One thread
/// at a time for each peer and direction. [paper 3.1]
/// </summary>
public sealed unsafe partial class PointToPoint : IDisposable
{
    private readonly Communicator group;
    private readonly Channel?[] channels;
    private readonly MappedMemory ownMemory;
    private readonly WorkerPool? sendCrew;
    private readonly WorkerPool? receiveCrew;

    internal PointToPoint(Communicator group)
    {
        this.group = group;
        channels = new Channel?[group.Ranks];
        ownMemory = new MappedMemory(group.Region);
        if (group.Geometry.Lanes == 1)
            return;
        sendCrew = new WorkerPool(group.Geometry.Lanes, pin: false);
        receiveCrew = new WorkerPool(group.Geometry.Lanes, pin: false);
    }

    /// <summary>Sends and waits until the receiver has taken the message: the paper's eight steps.</summary>
    /// <param name="peer">Receiver.</param>
    /// <param name="eventId">The caller's name for the message; the receiver must ask for the same.</param>
    /// <param name="message">The bytes.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Gives the message up; the receiver is told if it had begun.</param>
    /// <exception cref="PeerLostException">The receiver has died or left.</exception>
    /// <exception cref="XcclTimeoutException">The receiver did not make room or did not acknowledge.</exception>
    public void Send(int peer, uint eventId, ReadOnlySpan<byte> message, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        Send(peer, 0, eventId, message, acknowledge: true, timeout, cancel);

    /// <summary>Sends and returns when the message is wholly in the ring: the bytes are the caller's again. Failures as <see cref="Send(int, uint, ReadOnlySpan{byte}, TimeSpan?, CancellationToken)"/>.</summary>
    public void SendBuffered(int peer, uint eventId, ReadOnlySpan<byte> message, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        Send(peer, 0, eventId, message, acknowledge: false, timeout, cancel);

    /// <summary>Sends parts of a large message on several lanes at once, a thread for each. The receiver asks for as many lanes.</summary>
    /// <param name="peer">Receiver.</param>
    /// <param name="eventId">The caller's name for the message.</param>
    /// <param name="message">The bytes; each lane takes an equal share.</param>
    /// <param name="lanes">At most the geometry's.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Gives the message up.</param>
    /// <exception cref="XcclException">As the form with one lane.</exception>
    public void SendLanes(int peer, uint eventId, ReadOnlySpan<byte> message, int lanes, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        CheckLanes(lanes);
        fixed (byte* source = message)
            sendCrew!.Run(lanes, new LaneWork(this, peer, eventId, source, message.Length, lanes, sends: true, timeout, cancel));
    }

    /// <summary>Offers bytes of this rank's app area, which the receiver reads where they lie, and waits until it gives them back.</summary>
    /// <param name="peer">Receiver.</param>
    /// <param name="eventId">The caller's name for the message.</param>
    /// <param name="offset">First byte within the app area.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="timeout">Most time for it; the group's if none is given. The receiver may still read after that.</param>
    /// <param name="cancel">Ends the wait. The receiver may still read after that.</param>
    /// <exception cref="XcclException">As <see cref="Send(int, uint, ReadOnlySpan{byte}, TimeSpan?, CancellationToken)"/>.</exception>
    public void Lend(int peer, uint eventId, long offset, long bytes, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        Outgoing outgoing = Lending(eventId, offset, bytes);
        Finish(peer, 0, ref outgoing, timeout, cancel);
    }

    /// <summary>Receives the next message into the caller's room. A lent message is copied once, straight from the sender's area.</summary>
    /// <param name="peer">Sender.</param>
    /// <param name="eventId">The event that the next message must have.</param>
    /// <param name="room">At least as large as the message.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Gives the message up; what has come of it is thrown away.</param>
    /// <returns>Bytes received.</returns>
    /// <exception cref="MessageException">The next message has another event or is too large (it stays and can be received), or its sender gave it up.</exception>
    /// <exception cref="PeerLostException">The sender has died or left.</exception>
    /// <exception cref="XcclTimeoutException">The message did not come.</exception>
    public int Receive(int peer, uint eventId, Span<byte> room, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        Receive(peer, 0, eventId, room, timeout, cancel);

    /// <summary>Receives what <see cref="SendLanes"/> sent, on as many lanes.</summary>
    /// <exception cref="XcclException">As the form with one lane.</exception>
    public void ReceiveLanes(int peer, uint eventId, Span<byte> room, int lanes, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        CheckLanes(lanes);
        fixed (byte* destination = room)
            receiveCrew!.Run(lanes, new LaneWork(this, peer, eventId, destination, room.Length, lanes, sends: false, timeout, cancel));
    }

    /// <summary>
    /// Waits for a lent message and returns it where it lies, in the sender's memory, without a copy. The bytes are the caller's
    /// to read until <see cref="GiveBack"/>.
    /// </summary>
    /// <exception cref="MessageException">The next message has another event, or was not lent.</exception>
    /// <exception cref="XcclException">As <see cref="Receive(int, uint, Span{byte}, TimeSpan?, CancellationToken)"/>.</exception>
    public ReadOnlySpan<byte> Borrow(int peer, uint eventId, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        ReceiveLane lane = Open(peer).Receivers[0];
        if (!lane.TryPeek(out ChunkHead head))
            group.Link(peer); // what a lost peer sent before its end can still be taken
        Patience patience = new(group, Awaited.Message, eventId, timeout ?? group.Timeout, cancel);
        try
        {
            while (!lane.TryPeek(out head))
                patience.Step(peer);
        }
        finally
        {
            patience.End();
        }
        if (head.EventId != eventId)
            throw Refusal(peer, Progress.OtherEvent, eventId, head.EventId);
        byte* address = lane.Lent(head);
        if (address is null)
            throw new MessageException(peer, $"Rank {peer} sent event {eventId} through the ring, not from its app area: receive it.");
        return new ReadOnlySpan<byte>(address, checked((int)head.Total));
    }

    /// <summary>Gives back what <see cref="Borrow"/> returned; its sender may write there again.</summary>
    public void GiveBack(int peer)
    {
        group.Link(peer);
        ReceiveLane lane = channels[peer]!.Receivers[0];
        if (!lane.TryPeek(out ChunkHead head) || !head.Has(ChunkKinds.Lent))
            throw new InvalidOperationException($"Nothing is borrowed from rank {peer}.");
        lane.Release(head);
    }

    internal void Connect(int rank) => channels[rank] ??= new Channel(group.Link(rank), group.Own, ownMemory, group.Rank);

    /// <summary>Ends the lanes' threads. The communicator does it when it leaves.</summary>
    public void Dispose()
    {
        sendCrew?.Dispose();
        receiveCrew?.Dispose();
        channels.AsSpan().Clear();
    }

    private void Send(int peer, int lane, uint eventId, ReadOnlySpan<byte> message, bool acknowledge, TimeSpan? timeout, CancellationToken cancel)
    {
        fixed (byte* source = message)
        {
            Outgoing outgoing = new() { Source = source, Total = message.Length, EventId = eventId, Acknowledge = acknowledge };
            Finish(peer, lane, ref outgoing, timeout, cancel);
        }
    }

    private void Finish(int peer, int lane, ref Outgoing message, TimeSpan? timeout, CancellationToken cancel)
    {
        group.Link(peer);
        Channel channel = channels[peer]!;
        SendLane sender = channel.Senders[lane];
        if (lane == 0 && channel.Sending.Count > 0)
            Drain(peer, timeout, cancel);
        if (sender.Advance(ref message) == Progress.Done)
            return;
        Patience room = new(group, Awaited.Room, message.EventId, timeout ?? group.Timeout, cancel);
        Patience acknowledgement = new(group, Awaited.Acknowledgement, message.EventId, timeout ?? group.Timeout, cancel);
        try
        {
            while (sender.Advance(ref message) != Progress.Done)
            {
                if (message.Published)
                    acknowledgement.Step(peer);
                else
                    room.Step(peer);
            }
        }
        catch
        {
            sender.Abandon(message);
            throw;
        }
        finally
        {
            room.End();
            acknowledgement.End();
        }
    }

    private int Receive(int peer, int lane, uint eventId, Span<byte> room, TimeSpan? timeout, CancellationToken cancel)
    {
        Channel channel = Open(peer);
        ReceiveLane receiver = channel.Receivers[lane];
        if (lane == 0 && channel.Receiving.Count > 0)
            throw new InvalidOperationException($"Asynchronous receives from rank {peer} come first: complete or cancel them.");
        fixed (byte* destination = room)
        {
            Incoming incoming = new() { Destination = destination, Capacity = room.Length, EventId = eventId };
            Patience patience = new(group, Awaited.Message, eventId, timeout ?? group.Timeout, cancel);
            try
            {
                for (Progress progress; (progress = receiver.Advance(ref incoming)) != Progress.Done;)
                {
                    if (progress != Progress.Pending)
                        throw Refusal(peer, progress, eventId, incoming.Found);
                    group.Link(peer); // what a lost peer sent before its end can still be taken, but no more comes
                    patience.Step(peer);
                }
            }
            catch (Exception failure) when (failure is not MessageException)
            {
                receiver.Abandon(incoming);
                throw;
            }
            finally
            {
                patience.End();
            }
            return (int)incoming.Received;
        }
    }

    private Channel Open(int peer)
    {
        if ((uint)peer >= (uint)channels.Length || channels[peer] is not { } channel)
        {
            group.Link(peer); // which says what is wrong
            throw new PeerLostException(peer, left: false);
        }
        return channel;
    }

    private void CheckLanes(int lanes)
    {
        if (lanes < 1 || lanes > group.Geometry.Lanes || sendCrew is null)
            throw new ArgumentException($"{lanes} lanes are asked for; the group's geometry has {group.Geometry.Lanes} (at least 2 are needed).");
    }

    private Outgoing Lending(uint eventId, long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset > group.Geometry.AppBytes - bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"{bytes} bytes at {offset} are not within the app area of {group.Geometry.AppBytes}.");
        return new Outgoing { Source = (byte*)offset, Total = bytes, EventId = eventId, Lent = true, Acknowledge = true };
    }

    private static MessageException Refusal(int peer, Progress progress, uint eventId, long found) => new(peer, progress switch
    {
        Progress.OtherEvent => $"Rank {peer} sent event {found} where event {eventId} is expected: send and receive in the same order.",
        Progress.TooLarge => $"Rank {peer} sent {found} bytes for event {eventId}, more than there is room for.",
        _ => $"Rank {peer} gave up event {eventId}.",
    });

    /// <summary>One message's share for each lane; shares start at multiples of a cache line.</summary>
    private readonly struct LaneWork(PointToPoint owner, int peer, uint eventId, byte* start, long bytes, int lanes, bool sends, TimeSpan? timeout, CancellationToken cancel)
        : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            long from = Border(part), to = Border(part + 1);
            if (sends)
                owner.Send(peer, part, eventId, new ReadOnlySpan<byte>(start + from, (int)(to - from)), acknowledge: true, timeout, cancel);
            else if (owner.Receive(peer, part, eventId, new Span<byte>(start + from, (int)(to - from)), timeout, cancel) != to - from)
                throw new MessageException(peer, $"Rank {peer} sent event {eventId} with another length or on another number of lanes.");
        }

        private long Border(int part) => part == lanes ? bytes : bytes * part / lanes / RegionLayout.FieldBytes * RegionLayout.FieldBytes;
    }
}
