namespace XDeepServe.Models.Text.Splitting;

/// <summary>
/// Cuts text as the tokenizer of Kimi K2 does before anything else: every 400,000 characters, and within runs of more than
/// 25,000 characters that are all white space or all not.
/// </summary>
internal sealed class LongRuns : PreTokenizer
{
    private const int LongestText = 400_000, LongestRun = 25_000;

    /// <inheritdoc/>
    public override void Run(PieceBuffer buffer)
    {
        var text = buffer.Text.Span;
        foreach (var (begin, length) in buffer.Pieces)
        {
            var (start, characters, run, space) = (begin, 0, 0, false);
            for (int index = begin, step; index < begin + length; index += step)
            {
                step = char.IsHighSurrogate(text[index]) && index + 1 < begin + length ? 2 : 1;
                var isSpace = PythonSpace(text[index]);
                run = characters > 0 && isSpace == space ? run + 1 : 1;
                space = isSpace;
                if (characters == LongestText || run > LongestRun)
                {
                    buffer.Next.Add(start, index - start);
                    (start, run) = (index, 1);
                    characters = characters == LongestText ? 0 : characters;
                }
                characters++;
            }
            buffer.Next.Add(start, begin + length - start);
        }
        buffer.Advance();
    }

    private static bool PythonSpace(char unit) => char.IsWhiteSpace(unit) || unit is >= '\x1c' and <= '\x1f';
}
