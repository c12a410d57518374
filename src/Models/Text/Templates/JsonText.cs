using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Writes values as JSON in the form of Python's <c>json.dumps</c>.</summary>
/// <param name="indent">What a level is indented by; null: all on one line.</param>
/// <param name="itemSeparator">What stands between entries.</param>
/// <param name="keySeparator">What stands behind keys.</param>
/// <param name="ascii">Whether characters beyond ASCII are escaped.</param>
/// <param name="sortKeys">Whether keys are sorted.</param>
internal sealed class JsonText(string? indent, string itemSeparator, string keySeparator, bool ascii, bool sortKeys)
{
    private readonly StringBuilder output = new();

    /// <summary>Writes a value.</summary>
    public string Write(object? value, Position at)
    {
        Write(value, 0, at);
        return output.ToString();
    }

    private void Write(object? value, int level, Position at)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (value)
        {
            case null: output.Append("null"); break;
            case bool flag: output.Append(flag ? "true" : "false"); break;
            case long number: output.Append(number.ToString(CultureInfo.InvariantCulture)); break;
            case double number:
                output.Append(double.IsFinite(number) ? Printing.Number(number) : double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
                break;
            case BigInteger number: output.Append(number.ToString(CultureInfo.InvariantCulture)); break;
            case string text: Quote(text); break;
            case RangeValue:
                throw at.Error("a range cannot be written as JSON; make a list of it.");
            case IReadOnlyList<object?> list:
                output.Append('[');
                for (var i = 0; i < list.Count; i++)
                {
                    Separate(i == 0, level + 1);
                    Write(list[i], level + 1, at);
                }
                Close(list.Count == 0, level, ']');
                break;
            case OrderedDictionary<string, object?> mapping:
                output.Append('{');
                var first = true;
                foreach (var (key, entry) in sortKeys ? mapping.OrderBy(entry => entry.Key, StringComparer.Ordinal) : mapping.AsEnumerable())
                {
                    Separate(first, level + 1);
                    first = false;
                    Quote(key);
                    output.Append(keySeparator);
                    Write(entry, level + 1, at);
                }
                Close(mapping.Count == 0, level, '}');
                break;
            default:
                throw at.Error(value is Undefined undefined ? undefined.Reason : $"{Values.TypeName(value)} cannot be written as JSON.");
        }
        if (output.Length > Rendering.LongestText)
            throw at.Error($"a text is longer than {Rendering.LongestText} characters.");
    }

    private void Separate(bool first, int level)
    {
        if (!first)
            output.Append(itemSeparator);
        BreakLine(level);
    }

    private void Close(bool empty, int level, char bracket)
    {
        if (!empty)
            BreakLine(level);
        output.Append(bracket);
    }

    private void BreakLine(int level)
    {
        if (indent is null)
            return;
        output.Append('\n');
        for (; level > 0; level--)
            output.Append(indent);
    }

    private void Quote(string text)
    {
        output.Append('"');
        foreach (var c in text)
            switch (c)
            {
                case '"': output.Append("\\\""); break;
                case '\\': output.Append("\\\\"); break;
                case '\n': output.Append("\\n"); break;
                case '\r': output.Append("\\r"); break;
                case '\t': output.Append("\\t"); break;
                case '\b': output.Append("\\b"); break;
                case '\f': output.Append("\\f"); break;
                default:
                    if (c < ' ' || (ascii && c > '~'))
                        output.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                    else
                        output.Append(c);
                    break;
            }
        output.Append('"');
    }
}
