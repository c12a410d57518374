using System.Buffers;
using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>
/// Byte-pair encoding of one piece of text: starts from its bytes and merges the adjacent pair of lowest rank, the
/// leftmost first, until none merges.
/// </summary>
internal sealed class BytePairEncoder
{
    /// <summary>Up to this many symbols a plain scan for the best pair is faster than a queue.</summary>
    private const int ScanLimit = 48;

    private readonly ByteTable vocabulary;
    private readonly MergeTable merges;
    private readonly bool ignoreMerges;
    private readonly int[] byteIds = new int[256];
    private readonly PieceCache cache = new();

    /// <summary>Makes an encoder over a vocabulary.</summary>
    /// <param name="vocabulary">Tokens as raw bytes.</param>
    /// <param name="merges">Pairs that merge.</param>
    /// <param name="ignoreMerges">Whether a piece that is a token as a whole is taken as it is.</param>
    public BytePairEncoder(ByteTable vocabulary, MergeTable merges, bool ignoreMerges)
    {
        (this.vocabulary, this.merges, this.ignoreMerges) = (vocabulary, merges, ignoreMerges);
        for (var value = 0; value < 256; value++)
            byteIds[value] = vocabulary.Find([(byte)value]);
    }

    /// <summary>Appends the ids of a piece. The piece holds no lone surrogates.</summary>
    public void Encode(ReadOnlySpan<char> piece, IdList ids)
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

    private void EncodeAnew(ReadOnlySpan<char> piece, IdList ids)
    {
        byte[]? rented = null;
        var capacity = piece.Length * 3; // a UTF-16 unit takes at most three bytes of UTF-8
        var bytes = capacity <= 256 ? stackalloc byte[256] : rented = ArrayPool<byte>.Shared.Rent(capacity);
        bytes = bytes[..Encoding.UTF8.GetBytes(piece, bytes)];
        var whole = bytes.Length == 1 || ignoreMerges ? vocabulary.Find(bytes) : -1;
        if (whole >= 0)
            ids.Add(whole);
        else if (bytes.Length <= ScanLimit)
            MergeByScan(bytes, ids);
        else
            MergeByQueue(bytes, ids);
        if (rented is not null)
            ArrayPool<byte>.Shared.Return(rented);
    }

    /// <summary>The symbols to start from. A byte that is no token itself vanishes, as it does in the reference.</summary>
    private int Start(ReadOnlySpan<byte> bytes, Span<int> symbols)
    {
        var count = 0;
        foreach (var value in bytes)
            if (byteIds[value] >= 0)
                symbols[count++] = byteIds[value];
        return count;
    }

    private void MergeByScan(ReadOnlySpan<byte> bytes, IdList ids)
    {
        Span<int> symbols = stackalloc int[ScanLimit];
        Span<ulong> pairs = stackalloc ulong[ScanLimit]; // pairs[i]: the merge of symbols i and i + 1
        var count = Start(bytes, symbols);
        for (var i = 0; i + 1 < count; i++)
            pairs[i] = merges.Find(symbols[i], symbols[i + 1]);
        while (count > 1)
        {
            var best = 0;
            for (var i = 1; i + 1 < count; i++)
                if (pairs[i] < pairs[best])
                    best = i;
            if (pairs[best] == MergeTable.None)
                break;
            symbols[best] = (int)(uint)pairs[best];
            count--;
            symbols[(best + 2)..(count + 1)].CopyTo(symbols[(best + 1)..]);
            if (best + 1 < count)
            {
                pairs[(best + 2)..(count + 1)].CopyTo(pairs[(best + 1)..]);
                pairs[best] = merges.Find(symbols[best], symbols[best + 1]);
            }
            if (best > 0)
                pairs[best - 1] = merges.Find(symbols[best - 1], symbols[best]);
        }
        ids.Add(symbols[..count]);
    }

    /// <summary>The same for long pieces in O(n log n): a linked list of symbols and a queue of candidate merges.</summary>
    private void MergeByQueue(ReadOnlySpan<byte> bytes, IdList ids)
    {
        var symbols = ArrayPool<int>.Shared.Rent(bytes.Length);
        var count = Start(bytes, symbols);
        var next = ArrayPool<int>.Shared.Rent(count + 1);
        var previous = ArrayPool<int>.Shared.Rent(count + 1);
        using var queue = new MergeQueue(count);
        for (var i = 0; i < count; i++)
            (next[i], previous[i]) = (i + 1, i - 1);
        for (var i = 0; i + 1 < count; i++)
            Offer(i, i + 1);
        while (queue.Count > 0)
        {
            var (rank, left) = queue.Take();
            // A symbol that has been merged away is -1; a pair that has changed since has another rank.
            if (symbols[left] < 0 || next[left] is var right && right >= count)
                continue;
            var merge = merges.Find(symbols[left], symbols[right]);
            if (merge == MergeTable.None || (uint)(merge >> 32) != rank)
                continue;
            symbols[left] = (int)(uint)merge;
            symbols[right] = -1;
            next[left] = next[right];
            if (next[left] < count)
            {
                previous[next[left]] = left;
                Offer(left, next[left]);
            }
            if (previous[left] >= 0)
                Offer(previous[left], left);
        }
        for (var i = 0; i < count; i = next[i])
            ids.Add(symbols[i]);
        ArrayPool<int>.Shared.Return(symbols);
        ArrayPool<int>.Shared.Return(next);
        ArrayPool<int>.Shared.Return(previous);

        void Offer(int left, int right)
        {
            var merge = merges.Find(symbols[left], symbols[right]);
            if (merge != MergeTable.None)
                queue.Add((uint)(merge >> 32), left);
        }
    }
}
