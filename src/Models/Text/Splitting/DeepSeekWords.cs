namespace XDeepServe.Models.Text.Splitting;

/// <summary>The words of DeepSeek-V3 (the last of its three patterns; numbers and CJK text are split off before).</summary>
internal sealed class DeepSeekWords : ScanPattern
{
    /// <summary>The regular expression it stands for.</summary>
    public const string Source = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        + "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

    private const CharacterClass Word = CharacterClass.Letter | CharacterClass.Mark;
    private const CharacterClass Sign = CharacterClass.Punctuation | CharacterClass.Symbol;

    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index)
    {
        var kind = CharacterClasses.At(text, index, out var length);
        var next = index + length;
        if ((kind & Word) != 0)
            return CharacterClasses.RunEnd(text, next, Word) - index;
        if ((kind & Sign) != 0 && text[index] < 128 && next < text.Length && char.IsAsciiLetter(text[next]))
        {
            var rest = text[next..].IndexOfAnyExcept(AsciiLetters);
            return rest < 0 ? text.Length - index : length + rest;
        }
        var nextKind = next < text.Length ? CharacterClasses.At(text, next, out _) : CharacterClass.None;
        if ((nextKind & Word) != 0 && (kind & (Sign | CharacterClass.LineBreak)) == 0)
            return CharacterClasses.RunEnd(text, next, Word) - index;
        if ((kind & Sign) != 0 || (text[index] == ' ' && (nextKind & Sign) != 0))
        {
            var end = CharacterClasses.RunEnd(text, next, Sign);
            return CharacterClasses.RunEnd(text, end, CharacterClass.LineBreak) - index;
        }
        return (kind & CharacterClass.Space) != 0 ? WhiteSpace(text, index) : 0;
    }

    private static readonly System.Buffers.SearchValues<char> AsciiLetters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}
