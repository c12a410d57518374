using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>
/// Turns token ids into text as they come. A character whose bytes are spread over tokens appears with the last of
/// them. The pieces together equal <see cref="Tokenizer.Decode"/> of all ids. For one sequence and one thread at a time.
/// </summary>
public sealed class IncrementalDecoder
{
    private const int LongestCharacter = 4; // bytes of UTF-8

    private readonly Tokenizer tokenizer;
    private readonly bool skipSpecialTokens;
    private readonly byte[] begun = new byte[LongestCharacter]; // the bytes of a character that is not complete
    private int count;

    internal IncrementalDecoder(Tokenizer tokenizer, bool skipSpecialTokens) =>
        (this.tokenizer, this.skipSpecialTokens) = (tokenizer, skipSpecialTokens);

    /// <summary>Adds a token.</summary>
    /// <param name="id">Its id; an unknown one adds nothing.</param>
    /// <returns>The text that is now certain; empty while a character is incomplete.</returns>
    public string Append(int id)
    {
        if (skipSpecialTokens && tokenizer.IsSpecial(id))
            return "";
        // Most tokens are whole characters: their text exists once and is not made anew.
        if (count == 0 && tokenizer.WholeText(id) is { } text)
            return text;
        var token = tokenizer.Bytes(id);
        var length = count + token.Length;
        var bytes = length <= 256 ? stackalloc byte[256] : new byte[length];
        begun.AsSpan(0, count).CopyTo(bytes);
        token.CopyTo(bytes[count..]);
        bytes = bytes[..length];
        count = BegunAtEnd(bytes);
        bytes[^count..].CopyTo(begun);
        return Encoding.UTF8.GetString(bytes[..^count]);
    }

    /// <summary>Ends the text.</summary>
    /// <returns>A replacement character if the text ended within a character, else nothing.</returns>
    public string Flush()
    {
        var rest = Encoding.UTF8.GetString(begun.AsSpan(0, count));
        count = 0;
        return rest;
    }

    /// <summary>How many bytes at the end begin a character that more bytes may complete.</summary>
    private static int BegunAtEnd(ReadOnlySpan<byte> bytes)
    {
        for (var length = Math.Min(LongestCharacter - 1, bytes.Length); length > 0; length--)
            if (Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == System.Buffers.OperationStatus.NeedMoreData)
                return length;
        return 0;
    }
}
