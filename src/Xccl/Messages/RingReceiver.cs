using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Messages;

/// <summary>The reading end of a ring. One thread at a time.</summary>
/// <param name="local">The receiver's region.</param>
/// <param name="fields">First field there.</param>
/// <param name="remote">The sender's region.</param>
/// <param name="acknowledgement">The word there.</param>
/// <param name="slots">Slots, a power of two.</param>
/// <param name="tag">Stamp of this pair of epochs; others are not looked at.</param>
internal sealed class RingReceiver<TWords>(TWords local, long fields, TWords remote, long acknowledgement, int slots, uint tag)
    where TWords : struct, IWords
{
    private uint next = 1;
    private uint acknowledged;

    /// <summary>Slot of the chunk that <see cref="TryPeek"/> finds.</summary>
    public int Slot => (int)(next & (uint)(slots - 1));

    private long Field => fields + (long)Slot * Unsafe.SizeOf<RingField>();

    /// <summary>Looks whether the next chunk has arrived. It stays until <see cref="Release"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPeek(out ChunkHead head)
    {
        long field = Field;
        if (local.Read(field) != Stamps.Make(tag, next))
        {
            head = default;
            return false;
        }
        ulong names = local.Read(field + RingField.NamesOffset);
        ulong size = local.Read(field + RingField.SizeOffset);
        head = new ChunkHead((uint)names, (uint)(names >> 32), (uint)size, (ChunkKinds)(size >> 32), local.Read(field + RingField.TotalOffset));
        return true;
    }

    /// <summary>Copies what travelled in the field.</summary>
    public void ReadInline(Span<byte> destination)
    {
        long place = Field + RingField.InlineOffset;
        for (; destination.Length >= sizeof(ulong); destination = destination[sizeof(ulong)..], place += sizeof(ulong))
            MemoryMarshal.Write(destination, local.Read(place));
        if (destination.Length > 0)
        {
            ulong rest = local.Read(place);
            MemoryMarshal.AsBytes(new Span<ulong>(ref rest))[..destination.Length].CopyTo(destination);
        }
    }

    /// <summary>
    /// Gives the chunk's slot back. The sender is told at once if it waits for that, else when half of the ring is free: a
    /// line that both cores write would otherwise travel with every message.
    /// </summary>
    /// <returns>True if the sender was told and its bell must be rung.</returns>
    public bool Release(bool tell)
    {
        uint released = next++;
        if (!tell && released - acknowledged < (uint)slots / 2)
            return false;
        acknowledged = released;
        remote.Publish(acknowledgement, Stamps.Make(tag, released));
        return true;
    }
}
