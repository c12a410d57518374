using XDeepServe.Models.Text.Normalizing;

namespace XDeepServe.Models.Text.Decoding;

/// <summary>Rewrites tokens, one at a time, on their way to text.</summary>
internal abstract class PieceStep
{
    /// <summary>The token rewritten.</summary>
    /// <param name="token">The token.</param>
    /// <param name="first">Whether it is the first of its sequence.</param>
    public abstract string Apply(string token, bool first);
}

/// <summary>Replaces what matches a pattern (<c>Replace</c>).</summary>
internal sealed class ReplaceStep(Replacement replacement) : PieceStep
{
    /// <inheritdoc/>
    public override string Apply(string token, bool first) => replacement.Normalize(token);
}

/// <summary>Takes a character from the ends (<c>Strip</c>).</summary>
/// <param name="content">The character.</param>
/// <param name="start">How often at most at the start.</param>
/// <param name="stop">How often at most at the end.</param>
internal sealed class StripStep(char content, int start, int stop) : PieceStep
{
    /// <summary>The character.</summary>
    public char Content => content;

    /// <summary>How often at most at the start.</summary>
    public int Start => start;

    /// <summary>How often at most at the end.</summary>
    public int Stop => stop;

    /// <inheritdoc/>
    public override string Apply(string token, bool first)
    {
        var (from, to) = (0, token.Length);
        while (from < to && from < start && token[from] == content)
            from++;
        while (to > from && token.Length - to < stop && token[to - 1] == content)
            to--;
        return token[from..to];
    }
}

/// <summary>Turns the marks of words into spaces (<c>Metaspace</c>).</summary>
/// <param name="mark">The mark.</param>
/// <param name="dropFirst">Whether marks in the first token vanish.</param>
internal sealed class MarkStep(char mark, bool dropFirst) : PieceStep
{
    /// <inheritdoc/>
    public override string Apply(string token, bool first) => first && dropFirst
        ? token.Replace(mark.ToString(), "", StringComparison.Ordinal) : token.Replace(mark, ' ');
}

/// <summary>Puts a space between tokens: what happens where no decoder is named.</summary>
internal sealed class JoinStep : PieceStep
{
    /// <inheritdoc/>
    public override string Apply(string token, bool first) => first ? token : " " + token;
}
