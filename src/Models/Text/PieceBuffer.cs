namespace XDeepServe.Models.Text;

/// <summary>A text on its way through the pre-tokenizers, and the pieces it has been split into so far.</summary>
internal sealed class PieceBuffer
{
    private PieceList pieces = new(), next = new();

    /// <summary>The text that the pieces are ranges of.</summary>
    public ReadOnlyMemory<char> Text { get; private set; }

    /// <summary>Whether the text begins where the input begins.</summary>
    public bool First { get; private set; }

    /// <summary>The pieces, in order.</summary>
    public ReadOnlySpan<(int Start, int Length)> Pieces => pieces.Span;

    /// <summary>Where the next pieces are gathered.</summary>
    public PieceList Next => next;

    /// <summary>For the matches of a pattern.</summary>
    public PieceList Scratch { get; } = new();

    /// <summary>Begins with a text as one piece.</summary>
    public void Reset(ReadOnlyMemory<char> text, bool first)
    {
        (Text, First) = (text, first);
        pieces.Clear();
        pieces.Add(0, text.Length);
        next.Clear();
    }

    /// <summary>Goes on with the pieces gathered.</summary>
    public void Advance()
    {
        (pieces, next) = (next, pieces);
        next.Clear();
    }

    /// <summary>Goes on with the pieces gathered, which are ranges of another text.</summary>
    public void Advance(string text)
    {
        Text = text.AsMemory();
        Advance();
    }
}
