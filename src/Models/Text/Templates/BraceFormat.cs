using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary><c>'{} is {name:.2f}'.format(a, name=b)</c>, as in Python.</summary>
internal static class BraceFormat
{
    /// <summary>Puts arguments into a text.</summary>
    public static string Write(string format, Arguments arguments)
    {
        var result = new StringBuilder(format.Length + 16);
        var next = 0;
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] is not ('{' or '}'))
            {
                result.Append(format[i]);
                continue;
            }
            if (i + 1 < format.Length && format[i + 1] == format[i])
            {
                result.Append(format[i++]);
                continue;
            }
            var close = format[i] == '{' ? format.IndexOf('}', i) : -1;
            if (close < 0)
                throw arguments.At.Error("a single brace stands in the format.");
            result.Append(Field(format[(i + 1)..close], arguments, ref next));
            i = close;
            if (result.Length > Rendering.LongestText)
                throw arguments.At.Error($"a text is longer than {Rendering.LongestText} characters.");
        }
        arguments.Rendering.ChargeText(result.Length, arguments.At);
        return result.ToString();
    }

    private static string Field(string field, Arguments arguments, ref int next)
    {
        var at = arguments.At;
        var colon = field.IndexOf(':', StringComparison.Ordinal);
        var (name, layout) = colon < 0 ? (field, "") : (field[..colon], field[(colon + 1)..]);
        var quoted = name.EndsWith("!r", StringComparison.Ordinal);
        if (quoted || name.EndsWith("!s", StringComparison.Ordinal))
            name = name[..^2];
        var parts = name.Split('.');
        object? value;
        if (parts[0].Length == 0 || int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out _))
        {
            var place = parts[0].Length == 0 ? next++ : int.Parse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture);
            value = place < arguments.Positional.Count ? arguments.Positional[place] : throw at.Error($"the format asks for argument {place}, which is not given.");
        }
        else if (!arguments.Named.TryGetValue(parts[0], out value))
        {
            throw at.Error($"the format asks for '{parts[0]}', which is not given.");
        }
        foreach (var part in parts.Skip(1))
            value = AttributeAccess.Get(value, part, at);
        var laidOut = Layout(layout, at);
        return (quoted ? laidOut with { Type = 'r' } : laidOut).Write(value, at);
    }

    /// <summary>Reads <c>[[fill]align][sign][0][width][,][.precision][type]</c>.</summary>
    private static NumberFormat Layout(string text, Position at)
    {
        var (fill, align, plus, i) = (' ', '\0', '\0', 0);
        if (text.Length > 1 && text[1] is '<' or '>' or '^' or '=')
            (fill, align, i) = (text[0], text[1], 2);
        else if (text.Length > 0 && text[0] is '<' or '>' or '^' or '=')
            (align, i) = (text[0], 1);
        if (i < text.Length && text[i] is '+' or '-' or ' ')
            plus = text[i++] is '-' ? '\0' : text[i - 1];
        if (i < text.Length && text[i] == '0')
        {
            (fill, align) = align == '\0' ? ('0', '=') : (fill, align);
            i++;
        }
        var width = Number();
        var grouped = i < text.Length && text[i] == ',';
        if (grouped)
            i++;
        var precision = -1;
        if (i < text.Length && text[i] == '.')
        {
            i++;
            precision = Number();
        }
        if (i + 1 < text.Length)
            throw at.Error($"the format '{text}' is not supported.");
        return new(align, fill, plus, grouped, width, precision, i < text.Length ? text[i] : '\0');

        int Number()
        {
            var start = i;
            while (i < text.Length && char.IsAsciiDigit(text[i]))
                i++;
            if (i == start)
                return 0;
            return int.TryParse(text.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= NumberFormat.Most
                ? number : throw at.Error($"a width is greater than {NumberFormat.Most}.");
        }
    }
}
