using System.Buffers;

namespace XDeepServe.Models.Text;

/// <summary>
/// Byte-pair encoding of one piece of text: starts from its bytes, or its characters where the vocabulary is plain text,
/// and merges the adjacent pair of lowest rank, the leftmost first, until none merges.
/// </summary>
internal sealed class BytePairEncoder : PieceEncoder
{
    /// <summary>Up to this many symbols a plain scan for the best pair is faster than a queue.</summary>
    private const int ScanLimit = 48;

    private const char WordMark = '\u2581'; // what SentencePiece writes for a space

    private readonly BytePairModel model;
    private readonly ByteTable vocabulary;
    private readonly MergeTable merges;
    private readonly int[] byteIds = new int[256]; // tokens of one byte; in plain text, of one ASCII character
    private readonly int[] fallbackIds;
    private readonly bool cutsAtWords;

    /// <summary>Makes an encoder.</summary>
    /// <param name="model">Vocabulary and merges, complete.</param>
    public BytePairEncoder(BytePairModel model)
    {
        (this.model, vocabulary, merges) = (model, model.Tokens, model.Merges);
        for (var value = 0; value < 256; value++)
            byteIds[value] = vocabulary.Find([(byte)value]);
        fallbackIds = model.FallbackIds();
        cutsAtWords = !model.ByteLevel && !model.IgnoreMerges && vocabulary.Find("\u2581"u8) >= 0 && !AnyMergeCrossesWords();
    }

    /// <inheritdoc/>
    public override void Encode(ReadOnlySpan<char> piece, IdList ids)
    {
        // SentencePiece models see a whole text as one piece. Where no merge leads across the start of a word, its words
        // can be encoded one by one, and short ones are known already.
        while (cutsAtWords && NextWord(piece) is > 0 and var end)
        {
            base.Encode(piece[..end], ids);
            piece = piece[end..];
        }
        base.Encode(piece, ids);
    }

    /// <inheritdoc/>
    protected override void Encode(ReadOnlySpan<byte> bytes, IdList ids)
    {
        var whole = model.IgnoreMerges || (bytes.Length == 1 && model.ByteLevel) ? vocabulary.Find(bytes) : -1;
        if (whole >= 0)
            ids.Add(whole);
        else if (bytes.Length <= ScanLimit)
            MergeByScan(bytes, ids);
        else
            MergeByQueue(bytes, ids);
    }

    private static int NextWord(ReadOnlySpan<char> piece)
    {
        for (var index = 1; index < piece.Length; index++)
        {
            var next = piece[index..].IndexOf(WordMark);
            if (next < 0)
                return 0;
            index += next;
            if (piece[index - 1] != WordMark)
                return index;
        }
        return 0;
    }

    private bool AnyMergeCrossesWords()
    {
        foreach (var id in merges.Results())
        {
            var token = vocabulary[id];
            for (var from = 1; from < token.Length; from += 3)
            {
                var mark = token[from..].IndexOf("\u2581"u8);
                if (mark < 0)
                    break;
                from += mark;
                if (!token[..from].EndsWith("\u2581"u8))
                    return true;
            }
        }
        return false;
    }

    /// <summary>The symbols to start from; there are at most as many as bytes.</summary>
    private int Start(ReadOnlySpan<byte> bytes, Span<int> symbols)
    {
        var count = 0;
        if (!model.ByteLevel)
            return StartFromCharacters(bytes, symbols);
        // A byte that is no token itself vanishes, as it does in the reference.
        foreach (var value in bytes)
            if (byteIds[value] >= 0)
                symbols[count++] = byteIds[value];
        return count;
    }

    private int StartFromCharacters(ReadOnlySpan<byte> bytes, Span<int> symbols)
    {
        var count = 0;
        var unknown = false; // characters of an unknown token that has not been written yet
        for (int index = 0, length; index < bytes.Length; index += length)
        {
            length = CharacterLength(bytes[index]);
            var character = bytes.Slice(index, length);
            var id = length == 1 ? byteIds[character[0]] : vocabulary.Find(character);
            if (id < 0 && TryFallBack(character, symbols[count..]))
            {
                count += length;
                continue;
            }
            if (unknown && (id >= 0 || !model.FuseUnknown))
            {
                symbols[count++] = model.UnknownId;
                unknown = false;
            }
            if (id >= 0)
                symbols[count++] = id;
            else
                unknown = model.UnknownId >= 0;
        }
        if (unknown)
            symbols[count++] = model.UnknownId;
        return count;
    }

    private bool TryFallBack(ReadOnlySpan<byte> character, Span<int> symbols)
    {
        foreach (var value in character)
            if (fallbackIds[value] < 0)
                return false;
        for (var i = 0; i < character.Length; i++)
            symbols[i] = fallbackIds[character[i]];
        return true;
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
