namespace XDeepServe.Models.Text.Splitting;

/// <summary>The words of Llama 3 and Qwen: contractions, words with one leading sign, short numbers, signs, line ends.</summary>
/// <param name="longestNumber">How many digits stay together.</param>
internal sealed class ChatWords(int longestNumber) : ScanPattern
{
    /// <summary>The regular expression it stands for with single digits.</summary>
    public const string Source1 = Words + @"\p{N}" + Rest;

    /// <summary>The regular expression it stands for with up to three digits.</summary>
    public const string Source3 = Words + @"\p{N}{1,3}" + Rest;

    private const string Words = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string Rest = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const CharacterClass Excluded = CharacterClass.Space | CharacterClass.Letter | CharacterClass.Number;

    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index)
    {
        if (text[index] == '\'' && Contraction(text, index, ignoreCase: true) is > 0 and var contraction)
            return contraction;
        var kind = CharacterClasses.At(text, index, out var length);
        if ((kind & CharacterClass.Letter) != 0)
            return CharacterClasses.RunEnd(text, index + length, CharacterClass.Letter) - index;
        if ((kind & CharacterClass.Number) != 0)
            return NumberEnd(text, index, longestNumber) - index;

        var next = index + length;
        var nextKind = next < text.Length ? CharacterClasses.At(text, next, out _) : CharacterClass.Space;
        if ((nextKind & CharacterClass.Letter) != 0 && (kind & CharacterClass.LineBreak) == 0)
            return CharacterClasses.RunEnd(text, next, CharacterClass.Letter) - index;
        if ((kind & CharacterClass.Space) != 0 && (text[index] != ' ' || (nextKind & Excluded) != 0))
            return WhiteSpace(text, index);
        var end = CharacterClasses.RunEnd(text, next, Excluded, inside: false);
        return CharacterClasses.RunEnd(text, end, CharacterClass.LineBreak) - index;
    }
}
