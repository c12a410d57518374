using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>A vocabulary and the rule that cuts pieces of text into its tokens; filled token by token.</summary>
/// <param name="byteLevel">Whether the vocabulary is written in the byte alphabet; if not, in plain text.</param>
internal abstract class TokenModel(bool byteLevel)
{
    private readonly Dictionary<string, int> otherNames = [];
    private readonly HashSet<int> others = []; // the ids in it

    /// <summary>The tokens: raw bytes if the model is byte-level, else their text in UTF-8.</summary>
    public ByteTable Tokens { get; } = new(1 << 13);

    /// <summary>Whether the vocabulary is written in the byte alphabet.</summary>
    public bool ByteLevel { get; } = byteLevel;

    /// <summary>The token that stands for what the vocabulary cannot write; -1: none, such text vanishes.</summary>
    public int UnknownId { get; set; } = -1;

    /// <summary>Whether a character outside the vocabulary is written as tokens <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>.</summary>
    public bool ByteFallback { get; set; }

    /// <summary>Tokens of a byte-level model that are not written in the byte alphabet, by name.</summary>
    public IReadOnlyDictionary<string, int> OtherNames => otherNames;

    /// <summary>Stores a token.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="name">As the vocabulary writes it, in UTF-8.</param>
    public void AddToken(int id, ReadOnlySpan<byte> name)
    {
        if (!ByteLevel)
        {
            Tokens.Add(id, name);
            return;
        }
        var raw = name.Length <= 256 ? stackalloc byte[256] : new byte[name.Length];
        if (ByteAlphabet.TryToBytes(name, raw, out var count))
        {
            Tokens.Add(id, raw[..count]);
            return;
        }
        Tokens.Add(id, name, findable: false);
        otherNames[Encoding.UTF8.GetString(name)] = id;
        others.Add(id);
    }

    /// <summary>The id of a token as the vocabulary writes it, -1 if there is none.</summary>
    public int Find(ReadOnlySpan<byte> name)
    {
        if (!ByteLevel)
            return Tokens.Find(name);
        var raw = name.Length <= 256 ? stackalloc byte[256] : new byte[name.Length];
        return ByteAlphabet.TryToBytes(name, raw, out var count) ? Tokens.Find(raw[..count]) : otherNames.GetValueOrDefault(Encoding.UTF8.GetString(name), -1);
    }

    /// <summary>A token as the vocabulary writes it; empty for an unknown id.</summary>
    public string Name(int id) =>
        ByteLevel && !others.Contains(id) ? ByteAlphabet.ToText(Tokens[id]) : Encoding.UTF8.GetString(Tokens[id]);

    /// <summary>The tokens that stand for single bytes; -1 for a byte without one.</summary>
    public int[] FallbackIds()
    {
        var ids = new int[256];
        for (var value = 0; value < 256; value++)
            ids[value] = ByteFallback ? Find(Encoding.ASCII.GetBytes($"<0x{value:X2}>")) : -1;
        return ids;
    }

    /// <summary>Makes what cuts pieces into tokens; the vocabulary must be complete.</summary>
    public abstract PieceEncoder CreateEncoder();
}
