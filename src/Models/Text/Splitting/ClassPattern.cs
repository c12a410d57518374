namespace XDeepServe.Models.Text.Splitting;

/// <summary>Single characters of certain classes, or runs of them.</summary>
/// <param name="classes">The classes.</param>
/// <param name="runs">Whether neighbours form one match.</param>
/// <param name="inside">Whether characters in the classes match, or those outside.</param>
/// <param name="asciiSymbols">Whether ASCII symbols such as <c>$</c> count as punctuation, as Rust says.</param>
internal sealed class ClassPattern(CharacterClass classes, bool runs, bool inside = true, bool asciiSymbols = false) : ScanPattern
{
    /// <inheritdoc/>
    protected override int MatchAt(ReadOnlySpan<char> text, int index)
    {
        var kind = CharacterClasses.At(text, index, out var length);
        if (asciiSymbols && text[index] < 128 && (kind & CharacterClass.Symbol) != 0)
            kind |= CharacterClass.Punctuation;
        if ((kind & classes) != 0 != inside)
            return 0;
        return runs ? CharacterClasses.RunEnd(text, index, classes, inside) - index : length;
    }
}
