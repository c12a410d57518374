using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Reads the tokens within a tag.</summary>
/// <param name="source">The template.</param>
/// <param name="at">Tells the place of an index.</param>
internal sealed class WordLexer(string source, Func<int, Position> at)
{
    /// <summary>Reads one token.</summary>
    /// <param name="index">Where it begins, no white space; becomes where it ends.</param>
    public Token Read(ref int index)
    {
        var start = index;
        var c = source[index];
        if (c is '"' or '\'')
            return new(TokenKind.String, ReadString(ref index), at(start));
        if (char.IsAsciiDigit(c))
            return ReadNumber(ref index);
        if (char.IsLetter(c) || c == '_')
        {
            while (index < source.Length && (char.IsLetterOrDigit(source[index]) || source[index] == '_'))
                index++;
            return new(TokenKind.Name, source[start..index], at(start));
        }
        var two = index + 1 < source.Length ? source.Substring(index, 2) : "";
        if (two is "//" or "**" or "==" or "!=" or ">=" or "<=")
        {
            index += 2;
            return new(TokenKind.Operator, two, at(start));
        }
        if (!"+-*/%~|.,:=<>()[]{}".Contains(c, StringComparison.Ordinal))
            throw at(index).Error($"unexpected character '{c}'.");
        index++;
        return new(TokenKind.Operator, c.ToString(), at(start));
    }

    private Token ReadNumber(ref int index)
    {
        var start = index;
        SkipDigits(ref index);
        var isFloat = false;
        // a.0.1 is two accesses, not a number
        var afterPoint = start > 0 && source[start - 1] == '.';
        if (!afterPoint && index + 1 < source.Length && source[index] == '.' && char.IsAsciiDigit(source[index + 1]))
        {
            isFloat = true;
            index++;
            SkipDigits(ref index);
        }
        if (!afterPoint && index < source.Length && source[index] is 'e' or 'E')
        {
            var exponent = index + 1;
            if (exponent < source.Length && source[exponent] is '+' or '-')
                exponent++;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
            {
                isFloat = true;
                index = exponent;
                SkipDigits(ref index);
            }
        }
        var text = source[start..index].Replace("_", "", StringComparison.Ordinal);
        return new(isFloat ? TokenKind.Float : TokenKind.Integer, text, at(start));
    }

    private void SkipDigits(ref int index)
    {
        while (index < source.Length && (char.IsAsciiDigit(source[index]) || source[index] == '_'))
            index++;
    }

    private string ReadString(ref int index)
    {
        var start = index;
        var quote = source[index++];
        var text = new StringBuilder();
        while (index < source.Length && source[index] != quote)
        {
            if (source[index] == '\\' && index + 1 < source.Length)
                ReadEscape(ref index, text);
            else
                text.Append(source[index++]);
        }
        if (index >= source.Length)
            throw at(start).Error("the string is not closed.");
        index++;
        return text.ToString();
    }

    /// <summary>Escapes as in Python; an unknown one is kept as it is.</summary>
    private void ReadEscape(ref int index, StringBuilder text)
    {
        var c = source[index + 1];
        index += 2;
        switch (c)
        {
            case '\n': return;
            case 'n': text.Append('\n'); return;
            case 't': text.Append('\t'); return;
            case 'r': text.Append('\r'); return;
            case 'a': text.Append('\a'); return;
            case 'b': text.Append('\b'); return;
            case 'f': text.Append('\f'); return;
            case 'v': text.Append('\v'); return;
            case '\\' or '\'' or '"': text.Append(c); return;
            case 'x': ReadCodePoint(ref index, text, 2); return;
            case 'u': ReadCodePoint(ref index, text, 4); return;
            case 'U': ReadCodePoint(ref index, text, 8); return;
            case >= '0' and <= '7':
                var value = c - '0';
                for (var digits = 1; digits < 3 && index < source.Length && source[index] is >= '0' and <= '7'; digits++)
                    value = value * 8 + (source[index++] - '0');
                text.Append((char)value);
                return;
            default: text.Append('\\').Append(c); return;
        }
    }

    private void ReadCodePoint(ref int index, StringBuilder text, int digits)
    {
        if (index + digits > source.Length
            || !int.TryParse(source.AsSpan(index, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            || value > 0x10FFFF || value < 0)
            throw at(index - 2).Error($"the escape needs {digits} hexadecimal digits of a character.");
        index += digits;
        text.Append(value is >= 0xD800 and <= 0xDFFF ? ((char)value).ToString() : char.ConvertFromUtf32(value));
    }
}
