using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>The character classes that the splitting patterns of tokenizers speak of.</summary>
[Flags]
internal enum CharacterClass : byte
{
    /// <summary>None of them: controls, formats, private use, unassigned.</summary>
    None = 0,
    /// <summary>\p{L}</summary>
    Letter = 1,
    /// <summary>\p{N}</summary>
    Number = 2,
    /// <summary>\s</summary>
    Space = 4,
    /// <summary>\r or \n; always with <see cref="Space"/>.</summary>
    LineBreak = 8,
    /// <summary>\p{P}</summary>
    Punctuation = 16,
    /// <summary>\p{S}</summary>
    Symbol = 32,
    /// <summary>\p{M}</summary>
    Mark = 64,
}

/// <summary>Reads the class of the characters of a UTF-16 text, whole code points at a time.</summary>
internal static class CharacterClasses
{
    private static readonly CharacterClass[] Ascii = [.. Enumerable.Range(0, 128).Select(c => OfCodePoint(c))];

    /// <summary>The class of the code point at a place.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="index">Where the code point begins.</param>
    /// <param name="length">How many UTF-16 units it takes.</param>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        var unit = text[index];
        length = 1;
        if (unit < 128)
            return Ascii[unit];
        if (!char.IsHighSurrogate(unit) || index + 1 >= text.Length)
            return OfCodePoint(unit);
        length = 2;
        return OfCodePoint(char.ConvertToUtf32(unit, text[index + 1]));
    }

    /// <summary>Where a run of characters of certain classes ends.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="index">Where it begins.</param>
    /// <param name="classes">The classes.</param>
    /// <param name="inside">Whether characters in the classes continue the run, or characters outside them.</param>
    public static int RunEnd(ReadOnlySpan<char> text, int index, CharacterClass classes, bool inside = true)
    {
        while (index < text.Length && (At(text, index, out var length) & classes) != 0 == inside)
            index += length;
        return index;
    }

    private static CharacterClass OfCodePoint(int codePoint) => codePoint switch
    {
        '\r' or '\n' => CharacterClass.Space | CharacterClass.LineBreak,
        '\t' or '\v' or '\f' or 0x85 => CharacterClass.Space,
        _ => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
        {
            <= UnicodeCategory.OtherLetter => CharacterClass.Letter,
            <= UnicodeCategory.EnclosingMark => CharacterClass.Mark,
            <= UnicodeCategory.OtherNumber => CharacterClass.Number,
            <= UnicodeCategory.ParagraphSeparator => CharacterClass.Space,
            <= UnicodeCategory.PrivateUse => CharacterClass.None,
            <= UnicodeCategory.OtherPunctuation => CharacterClass.Punctuation,
            <= UnicodeCategory.OtherSymbol => CharacterClass.Symbol,
            _ => CharacterClass.None,
        },
    };
}
