using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>
/// The table of SentencePiece (<c>Precompiled</c>): a double-array trie from byte strings to what takes their place. Looked
/// up by whole grapheme where short, else character by character; of several matches the shortest counts, as in the reference.
/// </summary>
internal sealed class Charsmap : Normalizer
{
    private const int LongestGrapheme = 5; // bytes

    private readonly uint[] units;
    private readonly byte[] texts; // UTF-8, each ended by a zero byte

    /// <summary>Reads the table.</summary>
    /// <param name="data">The trie's size in bytes as a 32-bit number, the trie, the texts.</param>
    public Charsmap(byte[] data)
    {
        var size = data.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(data) : uint.MaxValue;
        if (size > data.Length - 4 || size % 4 != 0)
            throw new TokenizerException("The normalizer's precompiled_charsmap is damaged. Fetch tokenizer.json again.");
        units = new uint[size / 4];
        for (var i = 0; i < units.Length; i++)
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(4 + i * 4));
        texts = data[(4 + (int)size)..];
    }

    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        var result = new StringBuilder(text.Length);
        Span<byte> utf8 = stackalloc byte[16];
        var graphemes = text.AsSpan();
        while (!graphemes.IsEmpty)
        {
            var length = StringInfo.GetNextTextElementLength(graphemes);
            var grapheme = graphemes[..length];
            graphemes = graphemes[length..];
            if (length <= LongestGrapheme && Encoding.UTF8.GetBytes(grapheme, utf8) is <= LongestGrapheme and var bytes && Find(utf8[..bytes]) is { } whole)
            {
                result.Append(whole);
                continue;
            }
            foreach (var rune in grapheme.EnumerateRunes())
                result.Append(Find(utf8[..rune.EncodeToUtf8(utf8)]) ?? rune.ToString());
        }
        return result.ToString();
    }

    /// <summary>What takes the place of bytes, null if nothing does.</summary>
    private string? Find(ReadOnlySpan<byte> bytes)
    {
        if (units.Length == 0)
            return null;
        var node = Offset(units[0]);
        foreach (var value in bytes)
        {
            if (value == 0)
                return null;
            node ^= value;
            if (node >= units.Length || (units[node] & 0x800000FF) != value)
                return null;
            var unit = units[node];
            node ^= Offset(unit);
            if ((unit & 0x100) != 0)
                return node < units.Length ? Text(units[node] & 0x7FFFFFFF) : null;
        }
        return null;
    }

    private string? Text(uint start)
    {
        if (start >= texts.Length)
            return null;
        var rest = texts.AsSpan((int)start);
        var end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}
