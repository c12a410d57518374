using System.Globalization;

namespace XDeepServe.Models.Text.Templates;

/// <summary>How a value is laid out: <c>%-8.2f</c> or <c>{:&lt;8.2f}</c>.</summary>
/// <param name="Align">&lt; &gt; ^ or =; '\0': numbers to the right, others to the left.</param>
/// <param name="Fill">What fills the room.</param>
/// <param name="Plus">What stands before numbers that are not negative: + or a space; '\0': nothing.</param>
/// <param name="Grouped">Whether thousands are divided by commas.</param>
/// <param name="Width">The least width.</param>
/// <param name="Precision">Digits behind the point, or the most characters; negative: not given.</param>
/// <param name="Type">The kind: d f e g x X o b s r %; '\0': as the value is.</param>
internal readonly record struct NumberFormat(char Align, char Fill, char Plus, bool Grouped, int Width, int Precision, char Type)
{
    /// <summary>The widest and most precise a value is laid out.</summary>
    public const int Most = 1024;

    /// <summary>Lays a value out.</summary>
    public string Write(object? value, Position at)
    {
        var (number, text) = (true, "");
        switch (Type)
        {
            case 'd' or 'i' or 'u' or 'x' or 'X' or 'o' or 'b':
                if (!Values.IsInteger(value, out var whole))
                    whole = value is double real && Type is 'd' or 'i' or 'u' && Math.Abs(real) < 9e18 ? (long)real : throw at.Error($"'{Type}' needs a whole number, not {Values.TypeName(value)}.");
                text = Whole(whole);
                break;
            case 'f' or 'F' or 'e' or 'E' or 'g' or 'G' or '%':
                if (!Values.IsNumber(value, out var amount))
                    throw at.Error($"'{Type}' needs a number, not {Values.TypeName(value)}.");
                text = Real(amount, at);
                break;
            case '\0' when value is long or double && (Grouped || Precision >= 0 || Plus != '\0'):
                text = value is long plain && Precision < 0 ? Whole(plain) : (this with { Type = 'g' }).Real(Convert.ToDouble(value, CultureInfo.InvariantCulture), at);
                break;
            case '\0' or 's' or 'r':
                number = value is long or double && Type == '\0';
                text = Type == 'r' ? Printing.ToText(new List<object?> { value }, at)[1..^1] : Printing.ToText(value, at);
                if (Precision >= 0)
                    text = text[..PythonText.IndexOf(text, Math.Min(Precision, text.Length))];
                break;
            default:
                throw at.Error($"the format '{Type}' is not supported.");
        }
        if (number && Plus != '\0' && !text.StartsWith('-'))
            text = Plus + text;
        var missing = Math.Max(0, Width - PythonText.Length(text));
        var sign = Align == '=' && text.Length > 0 && text[0] is '-' or '+' or ' ' ? 1 : 0;
        return (Align == '\0' ? number ? '>' : '<' : Align) switch
        {
            '<' => text + new string(Fill, missing),
            '^' => new string(Fill, missing / 2) + text + new string(Fill, missing - missing / 2),
            '=' => text[..sign] + new string(Fill, missing) + text[sign..],
            _ => new string(Fill, missing) + text,
        };
    }

    private string Whole(long value)
    {
        var digits = Type switch
        {
            'x' => UInt128Text(value, "x"),
            'X' => UInt128Text(value, "X"),
            'o' => Octal(value),
            'b' => UInt128Text(value, "b"),
            _ => Int128.Abs(value).ToString(Grouped ? "N0" : "D", CultureInfo.InvariantCulture),
        };
        return value < 0 ? "-" + digits : digits;
    }

    private static string UInt128Text(long value, string format) => ((UInt128)Int128.Abs(value)).ToString(format, CultureInfo.InvariantCulture);

    private static string Octal(long value) => value == long.MinValue ? "1000000000000000000000" : Convert.ToString(Math.Abs(value), 8);

    private string Real(double value, Position at)
    {
        if (!double.IsFinite(value))
            return Printing.Number(value);
        var digits = Precision < 0 ? 6 : Precision;
        switch (Type)
        {
            case '%':
                return (value * 100).ToString((Grouped ? "N" : "F") + digits, CultureInfo.InvariantCulture) + "%";
            case 'f' or 'F':
                return value.ToString((Grouped ? "N" : "F") + digits, CultureInfo.InvariantCulture);
            case 'e' or 'E':
                return value.ToString($"{Type}{digits}", CultureInfo.InvariantCulture) is var text && text.IndexOf(Type, StringComparison.Ordinal) is var mark
                    ? $"{text[..(mark + 2)]}{int.Parse(text.AsSpan(mark + 2), CultureInfo.InvariantCulture):00}" : "";
            default:
                var significant = Math.Max(1, digits);
                var exponent = value == 0 ? 0 : int.Parse(value.ToString($"E{significant - 1}", CultureInfo.InvariantCulture).Split('E')[1], CultureInfo.InvariantCulture);
                var scientific = exponent < -4 || exponent >= significant;
                var laid = (this with { Type = scientific ? 'e' : 'f', Precision = scientific ? significant - 1 : significant - 1 - exponent }).Real(value, at);
                var (head, tail) = scientific ? (laid[..laid.IndexOf('e', StringComparison.Ordinal)], laid[laid.IndexOf('e', StringComparison.Ordinal)..]) : (laid, "");
                return (head.Contains('.', StringComparison.Ordinal) ? head.TrimEnd('0').TrimEnd('.') : head) + tail;
        }
    }
}
