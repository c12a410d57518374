using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Values as Python prints them.</summary>
internal static class Printing
{
    /// <summary>A value as it is put out: a text as it is, others as a program would write them.</summary>
    public static string ToText(object? value, Position at)
    {
        if (value is string text)
            return text;
        if (value is Undefined)
            return "";
        var output = new StringBuilder();
        Write(output, value, at);
        return output.ToString();
    }

    /// <summary>A number in the shortest form that reads back, as Python writes it.</summary>
    public static string Number(double value)
    {
        if (!double.IsFinite(value))
            return double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        var scientific = value.ToString("E16", CultureInfo.InvariantCulture);
        var exponent = value == 0 ? 0 : int.Parse(scientific.AsSpan(scientific.IndexOf('E') + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        var shortest = value.ToString("R", CultureInfo.InvariantCulture);
        if (exponent is >= -4 and < 16)
        {
            if (shortest.Contains('E', StringComparison.Ordinal))
                shortest = decimal.Parse(shortest, NumberStyles.Float, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture);
            return shortest.Contains('.', StringComparison.Ordinal) ? shortest : shortest + ".0";
        }
        var mark = shortest.IndexOf('E', StringComparison.Ordinal);
        if (mark >= 0)
            return $"{shortest[..mark]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        // Digits without an exponent: the first one, the others, how many places it moved.
        var digits = shortest.TrimStart('-').Replace(".", "", StringComparison.Ordinal).Trim('0');
        return $"{(value < 0 ? "-" : "")}{digits[0]}{(digits.Length > 1 ? "." + digits[1..] : "")}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
    }

    private static void Write(StringBuilder output, object? value, Position at)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (value)
        {
            case null: output.Append("None"); break;
            case bool flag: output.Append(flag ? "True" : "False"); break;
            case long number: output.Append(number.ToString(CultureInfo.InvariantCulture)); break;
            case double number: output.Append(Number(number)); break;
            case BigInteger number: output.Append(number.ToString(CultureInfo.InvariantCulture)); break;
            case string text: Quote(output, text); break;
            case Undefined: output.Append("Undefined"); break;
            case RangeValue range: output.Append(CultureInfo.InvariantCulture, $"{range}"); break;
            case object?[] tuple:
                output.Append('(');
                WriteList(output, tuple, at);
                output.Append(tuple.Length == 1 ? ",)" : ")");
                break;
            case IReadOnlyList<object?> list:
                output.Append('[');
                WriteList(output, list, at);
                output.Append(']');
                break;
            case OrderedDictionary<string, object?> mapping:
                var first = true;
                output.Append('{');
                foreach (var (key, entry) in mapping)
                {
                    output.Append(first ? "" : ", ");
                    first = false;
                    Quote(output, key);
                    output.Append(": ");
                    Write(output, entry, at);
                }
                output.Append('}');
                break;
            default:
                throw at.Error($"{Values.TypeName(value)} cannot be put out.");
        }
        if (output.Length > Rendering.LongestText)
            throw at.Error($"a text is longer than {Rendering.LongestText} characters.");
    }

    private static void WriteList(StringBuilder output, IReadOnlyList<object?> list, Position at)
    {
        for (var i = 0; i < list.Count; i++)
        {
            output.Append(i == 0 ? "" : ", ");
            Write(output, list[i], at);
        }
    }

    private static void Quote(StringBuilder output, string text)
    {
        var quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        output.Append(quote);
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == quote || c == '\\')
                output.Append('\\').Append(c);
            else if (c is '\n' or '\r' or '\t')
                output.Append('\\').Append(c switch { '\n' => 'n', '\r' => 'r', _ => 't' });
            else if (c is >= ' ' and < '\x7f')
                output.Append(c);
            else if (i + 1 < text.Length && char.IsSurrogatePair(c, text[i + 1]))
                QuoteRare(output, char.ConvertToUtf32(c, text[++i]));
            else
                QuoteRare(output, c);
        }
        output.Append(quote);
    }

    /// <summary>Writes a character beyond ASCII, or an escape if Python holds it for not printable.</summary>
    private static void QuoteRare(StringBuilder output, int character)
    {
        if (CharUnicodeInfo.GetUnicodeCategory(character) is > UnicodeCategory.OtherNumber and < UnicodeCategory.ConnectorPunctuation or UnicodeCategory.OtherNotAssigned)
            output.Append('\\').Append(character < 0x100 ? $"x{character:x2}" : character < 0x10000 ? $"u{character:x4}" : $"U{character:x8}");
        else
            output.Append(char.ConvertFromUtf32(character));
    }
}
