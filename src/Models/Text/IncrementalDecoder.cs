namespace XDeepServe.Models.Text;

/// <summary>
/// Turns token ids into text as they come. A character whose bytes are spread over tokens appears once it is complete. The
/// pieces together equal <see cref="Tokenizer.Decode"/> of all ids. For one sequence and one thread at a time.
/// </summary>
public abstract class IncrementalDecoder
{
    /// <summary>Adds a token.</summary>
    /// <param name="id">Its id; an unknown one adds nothing.</param>
    /// <returns>The text that is now certain; empty while a character is incomplete.</returns>
    public abstract string Append(int id);

    /// <summary>Ends the text; the next token begins another.</summary>
    /// <returns>What had been held back: replacement characters if the text ended within a character.</returns>
    public abstract string Flush();
}
