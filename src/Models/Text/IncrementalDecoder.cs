using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>
/// Turns token ids into text as they come. A character whose bytes are spread over tokens appears with the last of
/// them. The pieces together equal <see cref="Tokenizer.Decode"/> of all ids. For one sequence and one thread at a time.
/// </summary>
public sealed class IncrementalDecoder
{
    private readonly Tokenizer tokenizer;
    private readonly bool skipSpecialTokens;
    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();
    private bool between = true; // no character is half done

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
        if (between && tokenizer.WholeText(id) is { } text)
            return text;
        var bytes = tokenizer.Bytes(id);
        if (bytes.IsEmpty)
            return "";
        between = false;
        return Convert(bytes, flush: false);
    }

    /// <summary>Ends the text.</summary>
    /// <returns>A replacement character if the text ended within a character, else nothing.</returns>
    public string Flush()
    {
        var rest = Convert(default, flush: true);
        between = true;
        return rest;
    }

    private string Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        var capacity = bytes.Length + 4;
        var units = capacity <= 256 ? stackalloc char[256] : new char[capacity];
        decoder.Convert(bytes, units, flush, out _, out var written, out var completed);
        // The decoder tells nothing about what it holds back; probing with a flush of a copy is not possible, so the
        // end of the bytes is looked at: an ASCII byte always completes the text.
        between = flush || (!bytes.IsEmpty && bytes[^1] < 0x80);
        _ = completed;
        return new string(units[..written]);
    }
}
