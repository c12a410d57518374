namespace XDeepServe.Models.Text.Splitting;

/// <summary>What becomes of the matches of a pattern when a text is split by it.</summary>
internal enum SplitBehavior
{
    /// <summary>Each match is a piece of its own.</summary>
    Isolated,
    /// <summary>Matches vanish.</summary>
    Removed,
    /// <summary>A match ends the piece before it.</summary>
    MergedWithPrevious,
    /// <summary>A match begins the piece after it.</summary>
    MergedWithNext,
    /// <summary>Neighbouring matches form one piece.</summary>
    Contiguous,
}

/// <summary>Splits by a pattern.</summary>
/// <param name="pattern">Where it splits.</param>
/// <param name="behavior">What becomes of the matches.</param>
/// <param name="invert">Whether what lies between matches takes their place.</param>
internal sealed class Splitter(Pattern pattern, SplitBehavior behavior, bool invert = false) : PreTokenizer
{
    /// <inheritdoc/>
    public override void Run(PieceBuffer buffer)
    {
        foreach (var (start, length) in buffer.Pieces)
            Split(buffer.Text.Span.Slice(start, length), start, buffer.Scratch, buffer.Next);
        buffer.Advance();
    }

    /// <summary>Appends the pieces of a text.</summary>
    /// <param name="text">The text, without lone surrogates.</param>
    /// <param name="start">Is added to the start of every piece.</param>
    /// <param name="matches">Scratch, emptied here.</param>
    /// <param name="pieces">Receives the pieces.</param>
    public void Split(ReadOnlySpan<char> text, int start, PieceList matches, PieceList pieces)
    {
        matches.Clear();
        pattern.Match(text, matches);
        var placed = 0;     // text up to here has been dealt with
        var pending = -1;   // where a piece begins that is not yet closed, -1: none
        var wasMatch = false;
        foreach (var (index, length) in matches.Span)
        {
            Place(placed, index - placed, invert);
            Place(index, length, !invert);
            placed = index + length;
        }
        Place(placed, text.Length - placed, invert);
        if (pending >= 0)
            pieces.Add(start + pending, text.Length - pending);

        void Place(int index, int length, bool isMatch)
        {
            if (length == 0)
                return;
            switch (behavior)
            {
                case SplitBehavior.Isolated:
                case SplitBehavior.Removed when !isMatch:
                    pieces.Add(start + index, length);
                    return;
                case SplitBehavior.Removed:
                    return;
            }
            // The others leave no gaps: a piece is open from here on until the rule says that a new one begins.
            var begins = behavior switch
            {
                SplitBehavior.MergedWithPrevious => wasMatch,
                SplitBehavior.MergedWithNext => isMatch,
                _ => isMatch != wasMatch,
            };
            if (pending >= 0 && begins)
                pieces.Add(start + pending, index - pending);
            if (pending < 0 || begins)
                pending = index;
            wasMatch = isMatch;
        }
    }
}
