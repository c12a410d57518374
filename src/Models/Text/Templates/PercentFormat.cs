using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary><c>'%s is %d' % (a, b)</c>, as in Python.</summary>
internal static class PercentFormat
{
    /// <summary>Puts values into a text.</summary>
    /// <param name="format">The text.</param>
    /// <param name="values">A tuple of values, a mapping for <c>%(name)s</c>, or one value.</param>
    /// <param name="rendering">The run.</param>
    /// <param name="at">Where.</param>
    public static string Write(string format, object? values, Rendering rendering, Position at)
    {
        var result = new StringBuilder(format.Length + 16);
        var list = values as object?[] ?? [values];
        var (used, i) = (0, 0);
        for (; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                result.Append(format[i]);
                continue;
            }
            i++;
            string? name = null;
            if (Peek() == '(')
            {
                var close = format.IndexOf(')', i);
                name = close < 0 ? throw at.Error("'%(' is not closed with ')'.") : format[(i + 1)..close];
                i = close + 1;
            }
            var (minus, zero, plus) = (false, false, '\0');
            for (; Peek() is '-' or '0' or '+' or ' ' or '#'; i++)
            {
                minus |= format[i] == '-';
                zero |= format[i] == '0';
                plus = format[i] is '+' ? '+' : format[i] == ' ' && plus == '\0' ? ' ' : plus;
            }
            var width = Number() ?? 0;
            var precision = -1;
            if (Peek() == '.')
            {
                i++;
                precision = Number() ?? 0;
            }
            var type = Peek();
            if (type == '\0')
                throw at.Error("the format ends behind '%'.");
            if (type == '%')
            {
                result.Append('%');
                continue;
            }
            object? value;
            if (name is not null)
                value = values is OrderedDictionary<string, object?> mapping && mapping.TryGetValue(name, out var entry) ? entry : throw at.Error($"there is no value '{name}'.");
            else
                value = used < list.Length ? list[used] : throw at.Error("there are fewer values than '%' in the format.");
            used++;
            var number = type is not ('s' or 'r');
            result.Append(new NumberFormat(minus ? '<' : zero && number ? '=' : '>', zero && number && !minus ? '0' : ' ', plus, Grouped: false, width, precision, type).Write(value, at));
            if (result.Length > Rendering.LongestText)
                throw at.Error($"a text is longer than {Rendering.LongestText} characters.");
        }
        if (used < list.Length && (values is object?[] || values is not (OrderedDictionary<string, object?> or IReadOnlyList<object?>)))
            throw at.Error("there are more values than '%' in the format.");
        rendering.ChargeText(result.Length, at);
        return result.ToString();

        char Peek() => i < format.Length ? format[i] : '\0';

        int? Number()
        {
            var start = i;
            while (char.IsAsciiDigit(Peek()))
                i++;
            if (i == start)
                return null;
            return int.TryParse(format.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= NumberFormat.Most
                ? number : throw at.Error($"a width is greater than {NumberFormat.Most}.");
        }
    }
}
