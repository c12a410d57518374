using System.Runtime.InteropServices;

namespace XDeepServe.Xccl.Messages;

/// <summary>
/// The metadata field of one chunk: the paper's {eventId, chunkId, tailPtr} with what a receiver needs beside it, in one cache
/// line, so that a small message moves between cores as that line alone. [paper 3.1]
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct RingField
{
    public const int InlineBytes = 32;
    public const long StampOffset = 0, NamesOffset = 8, SizeOffset = 16, TotalOffset = 24, InlineOffset = 32;

    [FieldOffset(0)] public ulong Stamp; // tag of the pair's epochs << 32 | sequence number: the tail pointer, written last
    [FieldOffset(8)] public uint EventId;
    [FieldOffset(12)] public uint ChunkId;
    [FieldOffset(16)] public uint Bytes; // of this chunk
    [FieldOffset(20)] public ChunkKinds Kinds;
    [FieldOffset(24)] public ulong Total; // bytes of the message
    [FieldOffset(32)] public unsafe fixed byte Inline[InlineBytes]; // the payload, or where it lies: in the ring, or in the sender's app area
}
