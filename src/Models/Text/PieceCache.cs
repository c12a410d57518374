using System.Runtime.InteropServices;

namespace XDeepServe.Models.Text;

/// <summary>
/// Remembers the ids of pieces seen lately. Direct-mapped and bounded: a newcomer takes its slot's place. Entries never
/// change once stored, so that threads share the cache without a lock.
/// </summary>
internal sealed class PieceCache
{
    /// <summary>Longer pieces are not kept: they are rare and would let a hostile text fill the memory.</summary>
    public const int LongestPiece = 32;

    private const int Slots = 1 << 14;
    private readonly Entry?[] entries = new Entry?[Slots];

    /// <summary>The ids of a piece if it is here.</summary>
    public int[]? Find(ReadOnlySpan<char> piece, uint hash)
    {
        var entry = Volatile.Read(ref entries[hash % Slots]);
        return entry is not null && piece.SequenceEqual(entry.Piece) ? entry.Ids : null;
    }

    /// <summary>Keeps the ids of a piece.</summary>
    public void Keep(ReadOnlySpan<char> piece, uint hash, ReadOnlySpan<int> ids) =>
        Volatile.Write(ref entries[hash % Slots], new Entry(piece.ToString(), ids.ToArray()));

    /// <summary>The hash under which a piece is kept.</summary>
    public static uint Hash(ReadOnlySpan<char> piece) => ByteTable.Hash(MemoryMarshal.AsBytes(piece));

    private sealed record Entry(string Piece, int[] Ids);
}
