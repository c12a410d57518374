using System.Text;

namespace XDeepServe.Models.Text.Decoding;

/// <summary>Knows what tokens stand for. Any thread may use it.</summary>
internal abstract class Detokenizer
{
    /// <summary>The bytes a token stands for within a text; empty for an unknown id.</summary>
    public abstract ReadOnlySpan<byte> Bytes(int id);

    /// <summary>Starts a sequence.</summary>
    /// <param name="skips">Says which tokens are left out; null: none.</param>
    public abstract IncrementalDecoder Start(Func<int, bool>? skips);

    /// <summary>The text of a whole sequence.</summary>
    /// <param name="ids">The tokens.</param>
    /// <param name="skips">Says which tokens are left out; null: none.</param>
    public string Decode(ReadOnlySpan<int> ids, Func<int, bool>? skips)
    {
        var decoder = Start(skips);
        var text = new StringBuilder(ids.Length * 4);
        foreach (var id in ids)
            text.Append(decoder.Append(id));
        return text.Append(decoder.Flush()).ToString();
    }
}

/// <summary>The tokens of a byte-level model: bytes, put together and read as UTF-8.</summary>
/// <param name="vocabulary">The tokens as raw bytes.</param>
internal sealed class ByteDetokenizer(ByteTable vocabulary) : Detokenizer
{
    private readonly string?[] texts = new string?[vocabulary.Count]; // [ids] filled on demand, see WholeText

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(int id) => vocabulary[id];

    /// <inheritdoc/>
    public override IncrementalDecoder Start(Func<int, bool>? skips) => new ByteDecoder(this, skips);

    /// <summary>The text of a token that is whole characters by itself, made once; null for others.</summary>
    public string? WholeText(int id)
    {
        if ((uint)id >= (uint)texts.Length)
            return null;
        if (texts[id] is { } known)
            return known;
        var bytes = vocabulary[id];
        return bytes.IsEmpty || !System.Text.Unicode.Utf8.IsValid(bytes) ? null : texts[id] = Encoding.UTF8.GetString(bytes);
    }
}

/// <summary>The tokens of a model whose vocabulary is plain text.</summary>
/// <param name="vocabulary">The tokens in UTF-8.</param>
/// <param name="rules">What becomes of them.</param>
internal sealed class PieceDetokenizer(ByteTable vocabulary, PieceRules rules) : Detokenizer
{
    private readonly string?[] tokens = new string?[vocabulary.Count]; // [ids] filled on demand, as tokens not the first
    private readonly byte[]?[] bytes = new byte[vocabulary.Count][];

    /// <summary>What becomes of the tokens.</summary>
    public PieceRules Rules => rules;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(int id)
    {
        if (!vocabulary.Contains(id))
            return default;
        if (bytes[id] is { } known)
            return known;
        var text = Token(id, first: false)!;
        return bytes[id] = ByteValue(text) is >= 0 and var value ? [(byte)value] : Encoding.UTF8.GetBytes(text);
    }

    /// <inheritdoc/>
    public override IncrementalDecoder Start(Func<int, bool>? skips) => new PieceDecoder(this, skips);

    /// <summary>A token behind the steps on tokens; null for an unknown id.</summary>
    /// <param name="id">The id.</param>
    /// <param name="first">Whether it is the first of its sequence.</param>
    public string? Token(int id, bool first)
    {
        if (!vocabulary.Contains(id))
            return null;
        return first ? Make(id, first) : tokens[id] ??= Make(id, first);
    }

    /// <summary>The byte that a token stands for, -1 if for none.</summary>
    public int ByteValue(string token) =>
        rules.ByteFallback && token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && char.IsAsciiHexDigit(token[3]) && char.IsAsciiHexDigit(token[4])
            ? Convert.ToByte(token.Substring(3, 2), 16) : -1;

    private string Make(int id, bool first) =>
        rules.Tokens.Aggregate(Encoding.UTF8.GetString(vocabulary[id]), (token, step) => step.Apply(token, first));
}
