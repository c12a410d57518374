using System.Runtime.InteropServices;

namespace XDeepServe.Xccl.Exchanges;

/// <summary>
/// What a producer tells a consumer about a block that it may pull: the paper's {eventId, offset_of_rank, nr_token_per_rank}.
/// One cache line. [paper 3.2]
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct ExchangeField
{
    public const long StampOffset = 0, NamesOffset = 8, PlaceOffset = 16, BytesOffset = 24, NoteOffset = 32;

    [FieldOffset(0)] public ulong Stamp; // tag of the group's epochs << 32 | sequence number, written last
    [FieldOffset(8)] public uint EventId;
    [FieldOffset(12)] public uint Count; // rows
    [FieldOffset(16)] public long Place; // of the block in the producer's region
    [FieldOffset(24)] public long Bytes; // of the block that count
    [FieldOffset(32)] public ulong Note; // the caller's word, for example the layer
}

/// <summary>An <see cref="ExchangeField"/> without its stamp.</summary>
internal readonly record struct BlockHead(uint EventId, uint Count, long Place, long Bytes, ulong Note);
