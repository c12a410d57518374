using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Text as Python sees it: a sequence of code points, with Python's white space.</summary>
internal static class PythonText
{
    /// <summary>Whether Python counts a character as white space.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary>Text without white space at its end.</summary>
    public static ReadOnlySpan<char> TrimEnd(ReadOnlySpan<char> text)
    {
        var end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
            end--;
        return text[..end];
    }

    /// <summary>Text without white space, or without certain characters, at its ends.</summary>
    /// <param name="text">The text.</param>
    /// <param name="characters">The characters to take away; null: white space.</param>
    /// <param name="start">Whether at the start.</param>
    /// <param name="end">Whether at the end.</param>
    public static string Strip(string text, string? characters, bool start, bool end)
    {
        bool Goes(char c) => characters is null ? IsSpace(c) : characters.Contains(c, StringComparison.Ordinal);
        var (first, last) = (0, text.Length);
        while (start && first < last && Goes(text[first]))
            first++;
        while (end && last > first && Goes(text[last - 1]))
            last--;
        return text[first..last];
    }

    /// <summary>The order of code points, which that of UTF-16 units is not.</summary>
    public static int Compare(string left, string right)
    {
        var common = left.AsSpan().CommonPrefixLength(right);
        if (common == left.Length || common == right.Length)
            return left.Length.CompareTo(right.Length);
        var (a, b) = (left[common], right[common]);
        return char.IsSurrogate(a) != char.IsSurrogate(b) ? char.IsSurrogate(a) ? 1 : -1 : a.CompareTo(b);
    }

    /// <summary>Where a text is found in a text, -1 if nowhere; counted as work.</summary>
    public static int Find(Rendering rendering, string text, string part, Position at)
    {
        rendering.ChargeSearch(text.Length, part.Length, at);
        return text.IndexOf(part, StringComparison.Ordinal);
    }

    /// <summary>The number of code points.</summary>
    public static int Length(string text)
    {
        var length = text.Length;
        for (var i = 0; i + 1 < text.Length; i++)
            if (char.IsSurrogatePair(text[i], text[i + 1]))
                length--;
        return length;
    }

    /// <summary>The code points, each as a text.</summary>
    public static List<object?> Characters(string text)
    {
        var characters = new List<object?>(text.Length);
        for (var i = 0; i < text.Length; i++)
            characters.Add(i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]) ? text.Substring(i++, 2) : text[i].ToString());
        return characters;
    }

    /// <summary>The UTF-16 index of a code point.</summary>
    public static int IndexOf(string text, int codePoint)
    {
        var index = 0;
        for (; codePoint > 0 && index < text.Length; codePoint--)
            index += index + 1 < text.Length && char.IsSurrogatePair(text[index], text[index + 1]) ? 2 : 1;
        return index;
    }

    /// <summary>The first letter large, the others small.</summary>
    public static string Capitalize(string text) =>
        text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    /// <summary>The first letter of every word large, the others small.</summary>
    /// <param name="text">The text.</param>
    /// <param name="starts">Whether a word may begin behind this character.</param>
    public static string Title(string text, Func<char, bool> starts)
    {
        var result = new StringBuilder(text.Length);
        var begins = true;
        foreach (var c in text)
        {
            result.Append(begins ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c));
            begins = starts(c);
        }
        return result.ToString();
    }

    /// <summary>Splits at white space, which vanishes.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">How often it is split; negative: without limit.</param>
    public static List<object?> SplitSpace(string text, long most)
    {
        var parts = new List<object?>();
        var index = 0;
        while (true)
        {
            while (index < text.Length && IsSpace(text[index]))
                index++;
            if (index == text.Length)
                return parts;
            if (parts.Count == most)
            {
                parts.Add(text[index..]);
                return parts;
            }
            var start = index;
            while (index < text.Length && !IsSpace(text[index]))
                index++;
            parts.Add(text[start..index]);
        }
    }

    /// <summary>Splits at white space, which vanishes, beginning at the end.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">How often it is split.</param>
    public static List<object?> SplitSpaceFromEnd(string text, long most)
    {
        var parts = new List<object?>();
        var end = TrimEnd(text).Length;
        while (end > 0)
        {
            var start = end;
            while (start > 0 && !IsSpace(text[start - 1]))
                start--;
            if (parts.Count == most)
                start = 0;
            parts.Insert(0, text[start..end]);
            if (parts.Count > most)
                break;
            end = TrimEnd(text.AsSpan(0, start)).Length;
        }
        return parts;
    }

    /// <summary>Splits at a separator.</summary>
    /// <param name="text">The text.</param>
    /// <param name="separator">The separator, not empty.</param>
    /// <param name="most">How often it is split; negative: without limit.</param>
    /// <param name="fromEnd">Whether splitting begins at the end.</param>
    public static List<object?> Split(string text, string separator, long most, bool fromEnd)
    {
        var parts = text.Split(separator).ToList<object?>();
        if (most < 0 || parts.Count <= most + 1)
            return parts;
        var excess = parts.Count - (int)most; // as many parts stay together
        var start = fromEnd ? 0 : parts.Count - excess;
        var together = string.Join(separator, parts.GetRange(start, excess));
        parts.RemoveRange(start, excess);
        parts.Insert(start, together);
        return parts;
    }

    /// <summary>Splits into lines.</summary>
    public static List<object?> Lines(string text)
    {
        var lines = new List<object?>();
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] is not ('\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\u0085' or '\u2028' or '\u2029'))
                continue;
            lines.Add(text[start..i]);
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n')
                i++;
            start = i + 1;
        }
        if (start < text.Length)
            lines.Add(text[start..]);
        return lines;
    }
}
