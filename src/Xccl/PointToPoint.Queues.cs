using System.Diagnostics;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>
/// The asynchronous form: messages wait in queues of fixed length, <see cref="DoWork"/> moves them along without ever waiting,
/// and completions are taken from a queue. One thread calls all of this.
/// </summary>
public sealed unsafe partial class PointToPoint
{
    private const int CompletionQueueLength = 1024;
    private static readonly TimeSpan LifeInterval = TimeSpan.FromMilliseconds(20);

    private readonly FixedQueue<Completion> completions = new(CompletionQueueLength);
    private int outstanding; // posted, its completion not yet taken
    private int idleTurns;
    private long lifeSeen;

    /// <summary>Queues a message for sending. The bytes must stay in place and unchanged until its completion is taken.</summary>
    /// <param name="peer">Receiver.</param>
    /// <param name="eventId">The receiver must ask for the same.</param>
    /// <param name="source">First byte, in unmanaged or pinned memory.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="token">The caller's own number, handed back with the completion.</param>
    /// <returns>False if the queue is full: take completions and try again.</returns>
    /// <exception cref="PeerLostException">The receiver has died or left.</exception>
    public bool TryPost(int peer, uint eventId, nint source, long bytes, ulong token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        return TryPost(peer, new Outgoing { Source = (byte*)source, Total = bytes, EventId = eventId, Token = token });
    }

    /// <summary>Queues an offer of bytes of this rank's app area; complete when the receiver has given them back.</summary>
    /// <returns>False if the queue is full: take completions and try again.</returns>
    /// <exception cref="PeerLostException">The receiver has died or left.</exception>
    public bool TryPostLend(int peer, uint eventId, long offset, long bytes, ulong token)
    {
        Outgoing message = Lending(eventId, offset, bytes);
        message.Token = token;
        return TryPost(peer, message);
    }

    /// <summary>Queues room for a message. The room must stay in place until its completion is taken.</summary>
    /// <param name="peer">Sender.</param>
    /// <param name="eventId">The event that the message must have.</param>
    /// <param name="destination">First byte of the room, in unmanaged or pinned memory.</param>
    /// <param name="capacity">Bytes of room.</param>
    /// <param name="token">The caller's own number, handed back with the completion.</param>
    /// <returns>False if the queue is full: take completions and try again.</returns>
    /// <exception cref="PeerLostException">The sender has died or left.</exception>
    public bool TryPostReceive(int peer, uint eventId, nint destination, long capacity, ulong token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        group.Link(peer);
        FixedQueue<Incoming> queue = channels[peer]!.Receiving;
        if (queue.IsFull || outstanding == CompletionQueueLength)
            return false;
        outstanding++;
        queue.Add(new Incoming { Destination = (byte*)destination, Capacity = capacity, EventId = eventId, Token = token });
        return true;
    }

    /// <summary>
    /// Looks at the next message from a peer without taking it: whether it is there, its event and its size. For a receiver
    /// that first has to find room.
    /// </summary>
    /// <exception cref="PeerLostException">Nothing is there and the sender has died or left.</exception>
    public bool TryPeek(int peer, out uint eventId, out long bytes)
    {
        bool found = Open(peer).Receivers[0].TryPeek(out ChunkHead head);
        if (!found)
            group.Link(peer); // what a lost peer sent before its end can still be taken, but no more comes
        (eventId, bytes) = (head.EventId, (long)head.Total);
        return found;
    }

    /// <summary>Moves every queued message as far as it goes now.</summary>
    /// <returns>Messages that were completed.</returns>
    public int DoWork()
    {
        int done = 0;
        for (int peer = 0; peer < channels.Length; peer++)
            if (channels[peer] is { } channel)
                Advance(peer, channel, ref done);
        if (done > 0 || outstanding == completions.Count)
            idleTurns = 0;
        else if (++idleTurns % 256 == 0 && Stopwatch.GetElapsedTime(lifeSeen) >= LifeInterval)
            CompleteLost(ref done);
        return done;
    }

    /// <summary>Takes the oldest completion.</summary>
    public bool TryComplete(out Completion completion)
    {
        if (completions.Count == 0)
        {
            completion = default;
            return false;
        }
        completion = completions.Take();
        outstanding--;
        return true;
    }

    /// <summary>Waits for the oldest completion and takes it, for a thread that has nothing else to do.</summary>
    /// <param name="peer">Whom to name where it does not come; something is posted to or from it.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait; what is posted stays so.</param>
    /// <exception cref="PeerLostException">The peer has died or left.</exception>
    /// <exception cref="XcclTimeoutException">The peer did not acknowledge.</exception>
    public Completion Complete(int peer, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        if (outstanding == 0)
            throw new InvalidOperationException("Nothing is posted that could complete.");
        Patience patience = new(group, Awaited.Acknowledgement, 0, timeout ?? group.Timeout, cancel);
        try
        {
            Completion completion;
            while (!TryComplete(out completion))
                if (DoWork() == 0)
                    patience.Step(peer);
            return completion.Outcome == Progress.Lost ? throw new PeerLostException(completion.Rank, left: false) : completion;
        }
        finally
        {
            patience.End();
        }
    }

    /// <summary>Takes back everything that is queued to and from a peer: all of it completes as cancelled.</summary>
    public void Cancel(int peer) => Clear(peer, Progress.Cancelled);

    /// <summary>Forgets a dead peer; what is queued completes as lost.</summary>
    internal void Drop(int rank)
    {
        Clear(rank, Progress.Lost);
        channels[rank] = null;
    }

    private bool TryPost(int peer, in Outgoing message)
    {
        group.Link(peer);
        FixedQueue<Outgoing> queue = channels[peer]!.Sending;
        if (queue.IsFull || outstanding == CompletionQueueLength)
            return false;
        outstanding++;
        queue.Add(message);
        return true;
    }

    private void Drain(int peer, TimeSpan? timeout, CancellationToken cancel)
    {
        Channel channel = channels[peer]!;
        Patience patience = new(group, Awaited.Room, channel.Sending.Peek().EventId, timeout ?? group.Timeout, cancel);
        try
        {
            while (channel.Sending.Count > 0)
                if (DoWork() == 0)
                    patience.Step(peer);
        }
        finally
        {
            patience.End();
        }
    }

    private void Clear(int peer, Progress outcome)
    {
        if (channels[peer] is not { } channel)
            return;
        int done = 0;
        if (channel.Sending.Count > 0)
            channel.Senders[0].Abandon(channel.Sending.Peek());
        if (channel.Receiving.Count > 0)
            channel.Receivers[0].Abandon(channel.Receiving.Peek());
        while (channel.Sending.Count > 0)
        {
            Outgoing sent = channel.Sending.Take();
            Complete(new Completion(peer, sent.Token, sent.EventId, sent.Sent, outcome), ref done);
        }
        while (channel.Receiving.Count > 0)
        {
            Incoming taken = channel.Receiving.Take();
            Complete(new Completion(peer, taken.Token, taken.EventId, taken.Received, outcome), ref done);
        }
    }

    private void Advance(int peer, Channel channel, ref int done)
    {
        while (channel.Sending.Count > 0 && channel.Senders[0].Advance(ref channel.Sending.Peek()) == Progress.Done)
        {
            Outgoing sent = channel.Sending.Take();
            Complete(new Completion(peer, sent.Token, sent.EventId, sent.Total, Progress.Done), ref done);
        }
        while (channel.Receiving.Count > 0 && channel.Receivers[0].Advance(ref channel.Receiving.Peek()) is var progress and not Progress.Pending)
        {
            Incoming taken = channel.Receiving.Take();
            Complete(new Completion(peer, taken.Token, taken.EventId, taken.Received, progress), ref done);
        }
    }

    private void Complete(in Completion completion, ref int done)
    {
        completions.Add(completion); // there is room: posting is refused before there could be too many
        done++;
    }

    private void CompleteLost(ref int done)
    {
        lifeSeen = Stopwatch.GetTimestamp();
        for (int peer = 0; peer < channels.Length; peer++)
        {
            if (channels[peer] is not { } channel || channel.Sending.Count + channel.Receiving.Count == 0 || group.IsAlive(peer))
                continue;
            // What the peer did before its end may have come after the last look.
            Advance(peer, channel, ref done);
            int before = completions.Count;
            Clear(peer, Progress.Lost);
            done += completions.Count - before;
        }
    }
}
