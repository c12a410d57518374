using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>The vocabulary and the merges of a byte-level model, filled token by token, then merge by merge.</summary>
internal sealed class BytePairModel
{
    private readonly Dictionary<string, int> otherNames = [];
    private byte[] bytes = new byte[256];

    /// <summary>The tokens as raw bytes.</summary>
    public ByteTable Tokens { get; } = new(1 << 13);

    /// <summary>The merges.</summary>
    public MergeTable Merges { get; } = new(1 << 13);

    /// <summary>Whether a piece that is a token as a whole is taken as it is.</summary>
    public bool IgnoreMerges { get; set; }

    /// <summary>Tokens that are not written in the byte alphabet, by name.</summary>
    public IReadOnlyDictionary<string, int> OtherNames => otherNames;

    /// <summary>Stores a token.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="name">As the vocabulary writes it, in UTF-8.</param>
    public void AddToken(int id, ReadOnlySpan<byte> name)
    {
        Reserve(name.Length);
        if (ByteAlphabet.TryToBytes(name, bytes, out var count))
        {
            Tokens.Add(id, bytes.AsSpan(0, count));
            return;
        }
        Tokens.Add(id, name, findable: false);
        otherNames[Encoding.UTF8.GetString(name)] = id;
    }

    /// <summary>Stores a merge; both sides and the result must be tokens.</summary>
    /// <param name="rank">Lower ones merge first.</param>
    /// <param name="first">The left token as the vocabulary writes it, in UTF-8.</param>
    /// <param name="second">The right one.</param>
    public void AddMerge(int rank, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        Reserve(first.Length + second.Length);
        if (!ByteAlphabet.TryToBytes(first, bytes, out var middle) || !ByteAlphabet.TryToBytes(second, bytes.AsSpan(middle), out var rest))
            throw Bad(rank, first, second, "is not written in the byte alphabet; only byte-level models are supported");
        var left = Tokens.Find(bytes.AsSpan(0, middle));
        var right = Tokens.Find(bytes.AsSpan(middle, rest));
        var merged = Tokens.Find(bytes.AsSpan(0, middle + rest));
        if (left < 0 || right < 0 || merged < 0)
            throw Bad(rank, first, second, "names a token that is not in the vocabulary; fetch the tokenizer's files again");
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

    private void Reserve(int length)
    {
        if (bytes.Length < length)
            bytes = new byte[length * 2];
    }

    private static TokenizerException Bad(int rank, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, string what) =>
        new($"Merge {rank} of the tokenizer (\"{Encoding.UTF8.GetString(first)}\" and \"{Encoding.UTF8.GetString(second)}\") {what}.");
}
