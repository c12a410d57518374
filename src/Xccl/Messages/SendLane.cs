using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Messages;

/// <summary>The sending end of one lane to one peer. One thread at a time.</summary>
/// <param name="link">The peer.</param>
/// <param name="own">This rank's region.</param>
/// <param name="rank">This rank.</param>
/// <param name="lane">Which of the pair's rings.</param>
internal sealed unsafe class SendLane(PeerLink link, MappedWords own, int rank, int lane)
{
    private readonly int slotBytes = link.Region.Geometry.SlotBytes;
    private readonly long slots = link.Region.Layout.RingSlots(rank, lane);
    private readonly RingSender<MappedWords> ring = new(
        link.Words, link.Region.Layout.RingFields(rank, lane), own, link.Region.Layout.Acknowledgement(link.Rank, lane), link.Region.Geometry.Slots, link.Tag);

    private readonly int[] starts = new int[link.Region.Geometry.Slots]; // where the next payload in each slot begins
    private bool abandonmentOwed;

    /// <summary>Does as much of a message as the peer has room for.</summary>
    /// <returns><see cref="Progress.Pending"/> or <see cref="Progress.Done"/>.</returns>
    public Progress Advance(ref Outgoing message)
    {
        if (!message.Published && !Publish(ref message))
            return Progress.Pending;
        return !message.Acknowledge || ring.IsAcknowledged(message.Last) ? Progress.Done : Progress.Pending;
    }

    /// <summary>Stops in the middle of a message. The peer is told, now or before the next message.</summary>
    public void Abandon(in Outgoing message)
    {
        if (message.Sent == 0 || message.Published)
            return;
        abandonmentOwed = true;
        PayAbandonment();
    }

    private bool Publish(ref Outgoing message)
    {
        if (abandonmentOwed && !PayAbandonment())
            return false;
        ChunkKinds last = ChunkKinds.Last | (message.Acknowledge ? ChunkKinds.Acknowledge : 0);
        if (message.Lent || message.Total <= RingField.InlineBytes)
        {
            if (!ring.HasRoom())
                return false;
            if (message.Lent)
            {
                long offset = (long)message.Source;
                Put(ref message, (uint)Math.Min(message.Total, uint.MaxValue), last | ChunkKinds.Lent, MemoryMarshal.AsBytes(new ReadOnlySpan<long>(ref offset)));
            }
            else
            {
                Put(ref message, (uint)message.Total, last | ChunkKinds.Inline, new ReadOnlySpan<byte>(message.Source, (int)message.Total));
            }
        }
        while (!message.Published)
        {
            if (!ring.HasRoom())
                return false;
            long bytes = Math.Min(message.Total - message.Sent, slotBytes);
            long place = Place((int)bytes);
            link.Memory.Put(slots + place, message.Source + message.Sent, bytes);
            Put(ref message, (uint)bytes, message.Sent + bytes == message.Total ? last : ChunkKinds.Slot, MemoryMarshal.AsBytes(new ReadOnlySpan<long>(ref place)));
        }
        return true;
    }

    /// <summary>
    /// Where the next chunk goes, from the first slot on. Small payloads move through their slot instead of beginning at its
    /// start each time: lines that the receiver has just read are slow to write again.
    /// </summary>
    private long Place(int bytes)
    {
        int slot = ring.Slot, start = starts[slot];
        if (bytes > slotBytes - start)
            start = 0;
        starts[slot] = start + ((bytes + RegionLayout.FieldBytes - 1) / RegionLayout.FieldBytes * RegionLayout.FieldBytes);
        return ((long)slot * slotBytes) + start;
    }

    private void Put(ref Outgoing message, uint bytes, ChunkKinds kinds, ReadOnlySpan<byte> inline)
    {
        message.Last = ring.Next;
        ring.Publish(new ChunkHead(message.EventId, message.Chunk++, bytes, kinds, (ulong)message.Total), inline);
        message.Sent += bytes;
        message.Published = (kinds & ChunkKinds.Last) != 0;
        link.Bell.Ring();
    }

    private bool PayAbandonment()
    {
        if (!ring.HasRoom())
            return false;
        ring.Publish(new ChunkHead(0, 0, 0, ChunkKinds.Abandoned | ChunkKinds.Last, 0), []);
        link.Bell.Ring();
        abandonmentOwed = false;
        return true;
    }
}
