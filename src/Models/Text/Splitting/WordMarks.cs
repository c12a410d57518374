using System.Text;

namespace XDeepServe.Models.Text.Splitting;

/// <summary>When a text is given a mark at its start.</summary>
internal enum MarkStart
{
    /// <summary>Never.</summary>
    Never,
    /// <summary>Only where the input begins.</summary>
    First,
    /// <summary>Every piece.</summary>
    Always,
}

/// <summary>Writes spaces as a mark that begins the word behind it (<c>Metaspace</c>).</summary>
/// <param name="mark">The mark.</param>
/// <param name="start">When a piece that does not begin with the mark is given one.</param>
/// <param name="split">Whether pieces are split before each mark.</param>
internal sealed class WordMarks(char mark, MarkStart start, bool split) : PreTokenizer
{
    private readonly Splitter splitter = new(new LiteralPattern(mark.ToString()), SplitBehavior.MergedWithNext);

    /// <inheritdoc/>
    public override void Run(PieceBuffer buffer)
    {
        var text = new StringBuilder(buffer.Text.Length + 16);
        var first = buffer.First;
        foreach (var (begin, length) in buffer.Pieces)
        {
            var piece = buffer.Text.Span.Slice(begin, length);
            var at = text.Length;
            if (piece[0] != ' ' && piece[0] != mark && (start == MarkStart.Always || (start == MarkStart.First && first && begin == 0)))
                text.Append(mark);
            text.Append(piece);
            buffer.Next.Add(at, text.Length - at);
        }
        buffer.Advance(text.Replace(' ', mark).ToString());
        if (split)
            splitter.Run(buffer);
    }
}

/// <summary>Gives every piece that does not begin with a space one (<c>add_prefix_space</c> of ByteLevel).</summary>
internal sealed class LeadingSpace : PreTokenizer
{
    /// <inheritdoc/>
    public override void Run(PieceBuffer buffer)
    {
        var text = new StringBuilder(buffer.Text.Length + 16);
        foreach (var (begin, length) in buffer.Pieces)
        {
            var piece = buffer.Text.Span.Slice(begin, length);
            var at = text.Length;
            if (piece[0] != ' ')
                text.Append(' ');
            text.Append(piece);
            buffer.Next.Add(at, text.Length - at);
        }
        buffer.Advance(text.ToString());
    }
}
