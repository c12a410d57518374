namespace XDeepServe.Models.Text.Splitting;

/// <summary>
/// The words of GPT-4o and Kimi K2: like those of Llama 3, but a word ends before a capital letter that follows a small
/// one, contractions stay with their word, and Kimi keeps runs of Chinese characters apart.
/// </summary>
/// <param name="han">Whether Chinese characters are words of their own (Kimi K2).</param>
internal sealed class CasedWords(bool han) : ScanPattern
{
    /// <summary>The regular expression of GPT-4o.</summary>
    public const string Source = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + Contractions
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + Contractions
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The regular expression of Kimi K2.</summary>
    public const string HanSource = @"[\p{Han}]+"
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + Contractions
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + Contractions
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
    private const CharacterClass Large = CharacterClass.Upper | CharacterClass.Uncased | CharacterClass.Mark;
    private const CharacterClass Small = CharacterClass.Lower | CharacterClass.Uncased | CharacterClass.Mark;
    private const CharacterClass Excluded = CharacterClass.Space | CharacterClass.Letter | CharacterClass.Number;

    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index)
    {
        var kind = CharacterClasses.At(text, index, out var length);
        if (han && (kind & CharacterClass.Han) != 0)
            return CharacterClasses.RunEnd(text, index, CharacterClass.Han) - index;

        // First with a leading sign, then without, as the expression tries them; both only for a mark.
        var next = index + length;
        var leads = (kind & (CharacterClass.Letter | CharacterClass.Number | CharacterClass.LineBreak)) == 0;
        var letter = (kind & (CharacterClass.Letter | CharacterClass.Mark)) != 0;
        var end = 0;
        if ((leads && TrySmall(text, next, out end)) || (letter && TrySmall(text, index, out end))
            || (leads && TryLarge(text, next, out end)) || (letter && TryLarge(text, index, out end)))
            return end + (end < text.Length && text[end] == '\'' ? Contraction(text, end, ignoreCase: true) : 0) - index;

        if ((kind & CharacterClass.Number) != 0)
            return NumberEnd(text, index, 3) - index;
        var signs = text[index] == ' ' && next < text.Length ? next : index;
        if ((CharacterClasses.At(text, signs, out _) & Excluded) != 0)
            return WhiteSpace(text, index);
        end = CharacterClasses.RunEnd(text, signs, Excluded, inside: false);
        while (end < text.Length && (text[end] is '\r' or '\n' || (text[end] == '/' && !han)))
            end++;
        return end - index;
    }

    /// <summary>Large letters as many as there are, then at least one small one.</summary>
    private bool TrySmall(ReadOnlySpan<char> text, int index, out int end)
    {
        var (place, last) = (index, -1); // last: where the last letter ends that is both large and small
        while (Takes(text, place, Large, out var kind, out var length))
        {
            place += length;
            if ((kind & Small) != 0)
                last = place;
        }
        end = place;
        while (Takes(text, end, Small, out _, out var length))
            end += length;
        if (end == place)
            end = last; // no small letter follows: the large ones give back
        return end > index;
    }

    private bool TryLarge(ReadOnlySpan<char> text, int index, out int end)
    {
        end = index;
        while (Takes(text, end, Large, out _, out var length))
            end += length;
        return end > index;
    }

    private bool Takes(ReadOnlySpan<char> text, int index, CharacterClass classes, out CharacterClass kind, out int length)
    {
        (kind, length) = (CharacterClass.None, 0);
        if (index >= text.Length)
            return false;
        kind = CharacterClasses.At(text, index, out length);
        return (kind & classes) != 0 && !(han && (kind & CharacterClass.Han) != 0);
    }
}
