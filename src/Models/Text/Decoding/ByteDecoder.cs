using System.Buffers;
using System.Text;

namespace XDeepServe.Models.Text.Decoding;

/// <summary>Decodes the tokens of a byte-level model as they come.</summary>
/// <param name="tokens">What they stand for.</param>
/// <param name="skips">Says which are left out; null: none.</param>
internal sealed class ByteDecoder(ByteDetokenizer tokens, Func<int, bool>? skips) : IncrementalDecoder
{
    private const int LongestCharacter = 4; // bytes of UTF-8

    private readonly byte[] begun = new byte[LongestCharacter]; // the bytes of a character that is not complete
    private int count;

    /// <inheritdoc/>
    public override string Append(int id)
    {
        if (skips is not null && skips(id))
            return "";
        // Most tokens are whole characters: their text exists once and is not made anew.
        if (count == 0 && tokens.WholeText(id) is { } text)
            return text;
        var token = tokens.Bytes(id);
        var length = count + token.Length;
        var bytes = length <= 256 ? stackalloc byte[256] : new byte[length];
        begun.AsSpan(0, count).CopyTo(bytes);
        token.CopyTo(bytes[count..]);
        bytes = bytes[..length];
        count = BegunAtEnd(bytes);
        bytes[^count..].CopyTo(begun);
        return Encoding.UTF8.GetString(bytes[..^count]);
    }

    /// <inheritdoc/>
    public override string Flush()
    {
        var rest = Encoding.UTF8.GetString(begun.AsSpan(0, count));
        count = 0;
        return rest;
    }

    /// <summary>How many bytes at the end begin a character that more bytes may complete.</summary>
    private static int BegunAtEnd(ReadOnlySpan<byte> bytes)
    {
        for (var length = Math.Min(LongestCharacter - 1, bytes.Length); length > 0; length--)
            if (Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == OperationStatus.NeedMoreData)
                return length;
        return 0;
    }
}
