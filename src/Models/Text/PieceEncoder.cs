using System.Buffers;
using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>Cuts pieces of text into tokens, and remembers the short ones. Any thread may use it.</summary>
internal abstract class PieceEncoder
{
    private readonly PieceCache cache = new();

    /// <summary>Appends the ids of a piece. The piece holds no lone surrogates.</summary>
    public virtual void Encode(ReadOnlySpan<char> piece, IdList ids)
    {
        if (piece.Length > PieceCache.LongestPiece)
        {
            EncodeAnew(piece, ids);
            return;
        }
        var hash = PieceCache.Hash(piece);
        if (cache.Find(piece, hash) is { } known)
        {
            ids.Add(known);
            return;
        }
        var before = ids.Count;
        EncodeAnew(piece, ids);
        cache.Keep(piece, hash, ids.Span[before..]);
    }

    /// <summary>Appends the ids of a piece.</summary>
    /// <param name="bytes">The piece in UTF-8, not empty.</param>
    /// <param name="ids">Receives the ids.</param>
    protected abstract void Encode(ReadOnlySpan<byte> bytes, IdList ids);

    /// <summary>The length of the UTF-8 character that begins with a byte.</summary>
    protected static int CharacterLength(byte first) => first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    private void EncodeAnew(ReadOnlySpan<char> piece, IdList ids)
    {
        byte[]? rented = null;
        var capacity = piece.Length * 3; // a UTF-16 unit takes at most three bytes of UTF-8
        var bytes = capacity <= 256 ? stackalloc byte[256] : rented = ArrayPool<byte>.Shared.Rent(capacity);
        Encode(bytes[..Encoding.UTF8.GetBytes(piece, bytes)], ids);
        if (rented is not null)
            ArrayPool<byte>.Shared.Return(rented);
    }
}
