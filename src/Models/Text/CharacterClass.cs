using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>The character classes that the splitting patterns of tokenizers speak of.</summary>
[Flags]
internal enum CharacterClass : ushort
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
    /// <summary>\p{Lu} or \p{Lt}; always with <see cref="Letter"/>.</summary>
    Upper = 128,
    /// <summary>\p{Ll}; always with <see cref="Letter"/>.</summary>
    Lower = 256,
    /// <summary>\p{Lm} or \p{Lo}; always with <see cref="Letter"/>.</summary>
    Uncased = 512,
    /// <summary>\p{Han}, the script of Chinese characters; beside one of the others.</summary>
    Han = 1024,
}

/// <summary>Reads the class of the characters of a UTF-16 text, whole code points at a time.</summary>
internal static class CharacterClasses
{
    private static readonly (int First, int Last)[] HanRanges =
    [
        (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B),
        (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3), (0x16FF0, 0x16FF6), (0x20000, 0x2A6DF),
        (0x2A700, 0x2B81D), (0x2B820, 0x2CEAD), (0x2CEB0, 0x2EBE0), (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x30000, 0x33479),
    ];

    private static readonly CharacterClass[] Plane = [.. Enumerable.Range(0, 0x10000).Select(OfCodePoint)];

    /// <summary>The class of the code point at a place.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="index">Where the code point begins.</param>
    /// <param name="length">How many UTF-16 units it takes.</param>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        var unit = text[index];
        length = 1;
        if (!char.IsHighSurrogate(unit) || index + 1 >= text.Length)
            return Plane[unit];
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

    private static CharacterClass OfCodePoint(int codePoint)
    {
        var kind = codePoint switch
        {
            '\r' or '\n' => CharacterClass.Space | CharacterClass.LineBreak,
            '\t' or '\v' or '\f' or 0x85 => CharacterClass.Space,
            _ => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
            {
                UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => CharacterClass.Letter | CharacterClass.Upper,
                UnicodeCategory.LowercaseLetter => CharacterClass.Letter | CharacterClass.Lower,
                <= UnicodeCategory.OtherLetter => CharacterClass.Letter | CharacterClass.Uncased,
                <= UnicodeCategory.EnclosingMark => CharacterClass.Mark,
                <= UnicodeCategory.OtherNumber => CharacterClass.Number,
                <= UnicodeCategory.ParagraphSeparator => CharacterClass.Space,
                <= UnicodeCategory.PrivateUse => CharacterClass.None,
                <= UnicodeCategory.OtherPunctuation => CharacterClass.Punctuation,
                <= UnicodeCategory.OtherSymbol => CharacterClass.Symbol,
                _ => CharacterClass.None,
            },
        };
        if (codePoint < HanRanges[0].First)
            return kind;
        foreach (var (first, last) in HanRanges)
            if (codePoint >= first && codePoint <= last)
                return kind | CharacterClass.Han;
        return kind;
    }
}
