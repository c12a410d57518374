using System.Text;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Replaces what matches a pattern.</summary>
/// <param name="pattern">The pattern.</param>
/// <param name="content">What takes the place of a match.</param>
internal sealed class Replacement(Pattern pattern, string content) : Normalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        if (pattern is LiteralPattern literal)
            return text.Replace(literal.Text, content, StringComparison.Ordinal);
        var matches = new PieceList();
        pattern.Match(text, matches);
        if (matches.Count == 0)
            return text;
        var result = new StringBuilder(text.Length);
        var placed = 0;
        foreach (var (start, length) in matches.Span)
        {
            result.Append(text, placed, start - placed).Append(content);
            placed = start + length;
        }
        return result.Append(text, placed, text.Length - placed).ToString();
    }
}
