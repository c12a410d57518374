using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Messages;

/// <summary>The receiving end of one lane from one peer. One thread at a time.</summary>
/// <param name="link">The peer.</param>
/// <param name="own">This rank's region.</param>
/// <param name="ownMemory">The same.</param>
/// <param name="rank">This rank.</param>
/// <param name="lane">Which of the pair's rings.</param>
internal sealed unsafe class ReceiveLane(PeerLink link, MappedWords own, PeerMemory ownMemory, int rank, int lane)
{
    private readonly long slots = link.Region.Layout.RingSlots(link.Rank, lane);
    private readonly RingReceiver<MappedWords> ring = new(
        own, link.Region.Layout.RingFields(link.Rank, lane), link.Words, link.Region.Layout.Acknowledgement(rank, lane), link.Region.Geometry.Slots, link.Tag);

    private bool skipping;

    /// <summary>Copies as much of a message as has arrived.</summary>
    public Progress Advance(ref Incoming message)
    {
        while (ring.TryPeek(out ChunkHead head))
        {
            if (skipping || head.Has(ChunkKinds.Abandoned))
            {
                skipping = !head.Has(ChunkKinds.Last);
                Release(head);
                if (head.Has(ChunkKinds.Abandoned) && message.Started)
                    return Progress.Abandoned;
                continue;
            }
            if (!message.Started && Refused(head, ref message) is not Progress.Pending and Progress refusal)
                return refusal;
            message.Started = true;
            Take(head, ref message);
            Release(head);
            if (head.Has(ChunkKinds.Last))
                return Progress.Done;
        }
        return Progress.Pending;
    }

    /// <summary>Looks at the next message without taking it.</summary>
    public bool TryPeek(out ChunkHead head)
    {
        while (ring.TryPeek(out head))
        {
            if (!skipping && !head.Has(ChunkKinds.Abandoned))
                return true;
            skipping = !head.Has(ChunkKinds.Last);
            Release(head);
        }
        return false;
    }

    /// <summary>Address of the message that <see cref="TryPeek"/> found, if it is lent; it stays the sender's.</summary>
    public byte* Lent(in ChunkHead head) => head.Has(ChunkKinds.Lent) ? link.Memory.Map(link.Region.Layout.App + InlineWord(), (long)head.Total) : null;

    /// <summary>Gives the message back that <see cref="TryPeek"/> found.</summary>
    public void Release(in ChunkHead head)
    {
        if (ring.Release(head.Has(ChunkKinds.Acknowledge)))
            link.Bell.Ring();
    }

    /// <summary>Stops in the middle of a message: the rest of it will be thrown away, as what is left of one before it still is.</summary>
    public void Abandon(in Incoming message) => skipping |= message.Started;

    private static Progress Refused(in ChunkHead head, ref Incoming message)
    {
        if (head.EventId != message.EventId)
        {
            message.Found = head.EventId;
            return Progress.OtherEvent;
        }
        if (head.Total > (ulong)message.Capacity)
        {
            message.Found = (long)head.Total;
            return Progress.TooLarge;
        }
        return Progress.Pending;
    }

    private void Take(in ChunkHead head, ref Incoming message)
    {
        byte* destination = message.Destination + message.Received;
        if (head.Has(ChunkKinds.Inline))
        {
            ring.ReadInline(new Span<byte>(destination, (int)head.Bytes));
            message.Received += head.Bytes;
        }
        else if (head.Has(ChunkKinds.Lent))
        {
            link.Memory.Get(destination, link.Region.Layout.App + InlineWord(), (long)head.Total);
            message.Received = (long)head.Total;
        }
        else
        {
            ownMemory.Get(destination, slots + InlineWord(), head.Bytes);
            message.Received += head.Bytes;
        }
    }

    /// <summary>Where the payload lies: in the ring, or in the sender's app area.</summary>
    private long InlineWord()
    {
        long offset = 0;
        ring.ReadInline(MemoryMarshal.AsBytes(new Span<long>(ref offset)));
        return offset;
    }
}
