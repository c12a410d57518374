using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Writes times by the codes of C's <c>strftime</c>.</summary>
internal static class DateFormat
{
    /// <summary>Writes a time.</summary>
    public static string Write(DateTimeOffset time, string format, Position at)
    {
        var result = new StringBuilder();
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                result.Append(format[i]);
                continue;
            }
            var bare = format[++i] == '-' && i + 1 < format.Length; // no leading zeros
            var part = Part(time, format[bare ? ++i : i]) ?? throw at.Error($"the time code '%{format[i]}' is not supported.");
            result.Append(bare && part.TrimStart('0') is { Length: > 0 } trimmed ? trimmed : bare ? "0" : part);
        }
        return result.ToString();
    }

    private static string? Part(DateTimeOffset time, char code)
    {
        string Net(string format) => time.ToString(format, CultureInfo.InvariantCulture);
        return code switch
        {
            'a' => Net("ddd"),
            'A' => Net("dddd"),
            'b' or 'h' => Net("MMM"),
            'B' => Net("MMMM"),
            'd' => Net("dd"),
            'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
            'm' => Net("MM"),
            'y' => Net("yy"),
            'Y' => Net("yyyy"),
            'H' => Net("HH"),
            'I' => Net("hh"),
            'M' => Net("mm"),
            'S' => Net("ss"),
            'f' => Net("ffffff"),
            'p' => Net("tt"),
            'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
            'w' => ((int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
            'F' => Net("yyyy-MM-dd"),
            'T' => Net("HH:mm:ss"),
            'D' => Net("MM/dd/yy"),
            'R' => Net("HH:mm"),
            'c' => $"{Net("ddd MMM")} {time.Day,2} {Net("HH:mm:ss yyyy")}",
            'x' => Net("MM/dd/yy"),
            'X' => Net("HH:mm:ss"),
            'z' => Net("zzz").Replace(":", "", StringComparison.Ordinal),
            'Z' => "",
            'n' => "\n",
            't' => "\t",
            '%' => "%",
            _ => null,
        };
    }
}
