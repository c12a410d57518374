using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Filters that work on text; other values are put out first.</summary>
internal static class TextFilters
{
    /// <summary>A filter, null if it is not here.</summary>
    public static Filter? Find(string name) => name switch
    {
        "trim" => Make((text, arguments) => PythonText.Strip(text, arguments.OptionalText(0, "chars"), start: true, end: true)),
        "upper" => Make((text, _) => text.ToUpperInvariant()),
        "lower" => Make((text, _) => text.ToLowerInvariant()),
        "capitalize" => Make((text, _) => PythonText.Capitalize(text)),
        "title" => Make((text, _) => PythonText.Title(text, c => PythonText.IsSpace(c) || c is '-' or '(' or '{' or '[' or '<')),
        "safe" => Make((text, _) => text),
        "escape" or "e" => Make((text, _) => Escape(text)),
        "wordcount" => (rendering, value, arguments) => Words(Printing.ToText(value, arguments.At)),
        "indent" => Indent,
        "replace" => (rendering, value, arguments) => Replace(rendering, Printing.ToText(value, arguments.At), arguments),
        "format" => (rendering, value, arguments) => throw arguments.At.Error("the filter 'format' is not supported; '~' puts values together."),
        _ => null,
    };

    /// <summary>Replaces a text within a text; also the method of strings.</summary>
    public static string Replace(Rendering rendering, string text, Arguments arguments)
    {
        var (old, other) = (arguments.Text(0, "old"), arguments.Text(1, "new"));
        var most = arguments.Get(2, "count", null) is null ? -1 : arguments.Integer(2, "count", -1);
        if (most < 0 && old.Length > 0)
        {
            rendering.ChargeText(text.Length + (long)Math.Max(0, other.Length - old.Length) * (text.Length / old.Length), arguments.At);
            return text.Replace(old, other, StringComparison.Ordinal);
        }
        rendering.ChargeText(text.Length + (long)(text.Length + 1) * other.Length, arguments.At);
        var result = new StringBuilder();
        var index = 0;
        for (; most != 0; most--)
        {
            // An empty text is found before every character and at the end.
            var found = index <= text.Length ? text.IndexOf(old, index, StringComparison.Ordinal) : -1;
            if (found < 0)
                break;
            result.Append(text, index, found - index).Append(other);
            index = found + old.Length;
            if (old.Length > 0)
                continue;
            if (index < text.Length)
                result.Append(text[index]);
            index++;
        }
        return index < text.Length ? result.Append(text, index, text.Length - index).ToString() : result.ToString();
    }

    private static Filter Make(Func<string, Arguments, string> filter) => (rendering, value, arguments) =>
    {
        var text = Printing.ToText(value, arguments.At);
        rendering.ChargeText(text.Length, arguments.At);
        return filter(text, arguments);
    };

    private static string Escape(string text) => text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    private static long Words(string text)
    {
        var (words, inside) = (0L, false);
        foreach (var c in text)
        {
            var word = char.IsLetterOrDigit(c) || c == '_';
            words += word && !inside ? 1 : 0;
            inside = word;
        }
        return words;
    }

    private static string Indent(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("indent", 3, "width", "first", "blank");
        var indention = arguments.Get(0, "width", 4L) is string given ? given
            : new string(' ', (int)Math.Clamp(arguments.Integer(0, "width", 4), 0, 256));
        var (first, blank) = (arguments.Flag(1, "first"), arguments.Flag(2, "blank"));
        var text = Printing.ToText(value, arguments.At);
        var lines = PythonText.Lines(text + "\n");
        rendering.ChargeText(text.Length + (long)lines.Count * indention.Length, arguments.At);
        var result = new StringBuilder();
        for (var i = 0; i < lines.Count; i++)
        {
            var line = (string)lines[i]!;
            if (i > 0)
                result.Append('\n');
            if (i > 0 ? blank || line.Length > 0 : first)
                result.Append(indention);
            result.Append(line);
        }
        return result.ToString();
    }
}
