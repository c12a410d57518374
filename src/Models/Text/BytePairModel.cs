using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>A byte-pair model: a vocabulary, filled first, and the merges that lead to it.</summary>
/// <param name="byteLevel">Whether the vocabulary is written in the byte alphabet.</param>
internal sealed class BytePairModel(bool byteLevel) : TokenModel(byteLevel)
{
    private byte[] joined = new byte[256];

    /// <summary>The merges.</summary>
    public MergeTable Merges { get; } = new(1 << 13);

    /// <summary>Whether a piece that is a token as a whole is taken as it is.</summary>
    public bool IgnoreMerges { get; set; }

    /// <summary>Whether neighbouring characters outside the vocabulary become one unknown token.</summary>
    public bool FuseUnknown { get; set; }

    /// <inheritdoc/>
    public override PieceEncoder CreateEncoder() => new BytePairEncoder(this);

    /// <summary>Stores a merge; both sides and the result must be tokens.</summary>
    /// <param name="rank">Lower ones merge first.</param>
    /// <param name="first">The left token as the vocabulary writes it, in UTF-8.</param>
    /// <param name="second">The right one.</param>
    public void AddMerge(int rank, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        var length = first.Length + second.Length;
        if (joined.Length < length)
            joined = new byte[length * 2];
        first.CopyTo(joined);
        second.CopyTo(joined.AsSpan(first.Length));
        var (left, right, merged) = (Find(first), Find(second), Find(joined.AsSpan(0, length)));
        if (left < 0 || right < 0 || merged < 0)
        {
            throw new TokenizerException($"Merge {rank} of the tokenizer (\"{Encoding.UTF8.GetString(first)}\" and \"{Encoding.UTF8.GetString(second)}\") "
                + "names a token that is not in the vocabulary; fetch the tokenizer's files again.");
        }
        Merges.Add(left, right, rank, merged);
    }

    /// <summary>Stores a merge written as two tokens with a space between them.</summary>
    /// <param name="rank">Lower ones merge first.</param>
    /// <param name="line">The pair, in UTF-8.</param>
    public void AddMerge(int rank, ReadOnlySpan<byte> line)
    {
        var space = line.IndexOf((byte)' ');
        if (space < 0)
            throw new TokenizerException($"Merge {rank} of the tokenizer is not a pair: \"{Encoding.UTF8.GetString(line)}\". Fetch the tokenizer's files again.");
        AddMerge(rank, line[..space], line[(space + 1)..]);
    }

    /// <summary>
    /// Derives the merges from the order of the tokens, as tiktoken and SentencePiece do: any two neighbours merge whose
    /// bytes together are a token, the token of lowest rank first.
    /// </summary>
    /// <param name="rank">The rank of a token; negative: nothing merges into it.</param>
    public void MergeByRank(Func<int, int> rank)
    {
        for (var id = 0; id < Tokens.Count; id++)
        {
            var bytes = Tokens[id];
            if (bytes.Length < 2 || rank(id) is var order && order < 0)
                continue;
            for (var cut = 1; cut < bytes.Length; cut++)
                if (Tokens.Find(bytes[..cut]) is >= 0 and var left && Tokens.Find(bytes[cut..]) is >= 0 and var right)
                    Merges.Add(left, right, order, id);
        }
    }
}
