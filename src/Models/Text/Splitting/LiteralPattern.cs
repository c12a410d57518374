namespace XDeepServe.Models.Text.Splitting;

/// <summary>A fixed string.</summary>
/// <param name="literal">The string, not empty.</param>
internal sealed class LiteralPattern(string literal) : Pattern
{
    /// <summary>The string.</summary>
    public string Text => literal;

    /// <inheritdoc/>
    public override void Match(ReadOnlySpan<char> text, PieceList matches)
    {
        for (var index = 0; text[index..].IndexOf(literal, StringComparison.Ordinal) is >= 0 and var found; index += found + literal.Length)
            matches.Add(index + found, literal.Length);
    }
}
