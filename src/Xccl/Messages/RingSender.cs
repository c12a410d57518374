using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Messages;

/// <summary>
/// The writing end of a ring: fields lie in the receiver's region, the acknowledgement in the sender's, so that both poll
/// memory of their own. One thread at a time.
/// </summary>
/// <param name="remote">The receiver's region.</param>
/// <param name="fields">First field there.</param>
/// <param name="local">The sender's region.</param>
/// <param name="acknowledgement">The word there.</param>
/// <param name="slots">Slots, a power of two.</param>
/// <param name="tag">Stamp of this pair of epochs; others are not looked at.</param>
internal sealed class RingSender<TWords>(TWords remote, long fields, TWords local, long acknowledgement, int slots, uint tag)
    where TWords : struct, IWords
{
    private uint acknowledged;

    /// <summary>Number of the next chunk; the first is 1.</summary>
    public uint Next { get; private set; } = 1;

    /// <summary>Slot of the next chunk.</summary>
    public int Slot => (int)(Next & (uint)(slots - 1));

    /// <summary>The next chunk's slot is free: the receiver has finished with what was in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasRoom() => Next - acknowledged <= (uint)slots || (Refresh() && Next - acknowledged <= (uint)slots);

    /// <summary>The receiver has finished with a chunk.</summary>
    public bool IsAcknowledged(uint sequence) => (int)(acknowledged - sequence) >= 0 || (Refresh() && (int)(acknowledged - sequence) >= 0);

    /// <summary>Publishes the next chunk, whose slot (if it uses it) has been written.</summary>
    /// <param name="head">Metadata.</param>
    /// <param name="inline">Up to 32 bytes that travel in the field itself.</param>
    public void Publish(in ChunkHead head, ReadOnlySpan<byte> inline)
    {
        long field = fields + (long)Slot * Unsafe.SizeOf<RingField>();
        remote.Write(field + RingField.NamesOffset, head.EventId | (ulong)head.ChunkId << 32);
        remote.Write(field + RingField.SizeOffset, head.Bytes | (ulong)head.Kinds << 32);
        remote.Write(field + RingField.TotalOffset, head.Total);
        long place = field + RingField.InlineOffset;
        for (; inline.Length >= sizeof(ulong); inline = inline[sizeof(ulong)..], place += sizeof(ulong))
            remote.Write(place, MemoryMarshal.Read<ulong>(inline));
        if (inline.Length > 0)
        {
            ulong rest = 0;
            inline.CopyTo(MemoryMarshal.AsBytes(new Span<ulong>(ref rest)));
            remote.Write(place, rest);
        }
        remote.Publish(field, Stamps.Make(tag, Next));
        Next++;
    }

    private bool Refresh()
    {
        ulong stamp = local.Read(acknowledgement);
        if (Stamps.Tag(stamp) != tag)
            return false;
        acknowledged = Stamps.Sequence(stamp);
        return true;
    }
}
