namespace XDeepServe.Models.Text.Splitting;

/// <summary>The words of GPT-2: what a ByteLevel pre-tokenizer splits by.</summary>
internal sealed class Gpt2Words : ScanPattern
{
    /// <summary>The regular expression it stands for.</summary>
    public const string Source = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const CharacterClass Excluded = CharacterClass.Space | CharacterClass.Letter | CharacterClass.Number;

    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index)
    {
        if (text[index] == '\'' && Contraction(text, index, ignoreCase: false) is > 0 and var contraction)
            return contraction;
        var word = text[index] == ' ' && index + 1 < text.Length ? index + 1 : index;
        var kind = CharacterClasses.At(text, word, out _);
        int end;
        if ((kind & CharacterClass.Space) != 0)
            return WhiteSpace(text, index, lineBreaks: false);
        if ((kind & CharacterClass.Letter) != 0)
            end = CharacterClasses.RunEnd(text, word, CharacterClass.Letter);
        else if ((kind & CharacterClass.Number) != 0)
            end = CharacterClasses.RunEnd(text, word, CharacterClass.Number);
        else
            end = CharacterClasses.RunEnd(text, word, Excluded, inside: false);
        return end - index;
    }
}
