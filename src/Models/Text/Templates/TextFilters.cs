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
        "escape" or "e" or "forceescape" => Make((text, _) => Escape(text)),
        "wordcount" => Make((text, _) => Words(text)),
        "indent" => Indent,
        "replace" => (rendering, value, arguments) => Replace(rendering, Printing.ToText(value, arguments.At), arguments),
        "format" => (rendering, value, arguments) => PercentFormat.Write(Printing.ToText(value, arguments.At),
            arguments.Named.Count > 0 ? new OrderedDictionary<string, object?>(arguments.Named, StringComparer.Ordinal) : arguments.Positional.ToArray(), arguments.Rendering, arguments.At),
        "center" => Make((text, arguments) => TextMethods.Find("center")!(arguments.Rendering, text,
            arguments.Positional.Count + arguments.Named.Count == 0 ? arguments with { Positional = [80L] } : arguments)),
        "truncate" => Make(Truncate),
        "urlencode" => Make((text, _) => Uri.EscapeDataString(text).Replace("%2F", "/", StringComparison.Ordinal)),
        _ => null,
    };

    /// <summary>Replaces a text within a text; also the method of strings.</summary>
    public static string Replace(Rendering rendering, string text, Arguments arguments)
    {
        var (old, other) = (arguments.Text(0, "old"), arguments.Text(1, "new"));
        rendering.ChargeSearch(text.Length, old.Length, arguments.At);
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
            for (var pair = index + 1 < text.Length && char.IsSurrogatePair(text[index], text[index + 1]) ? 2 : 1; pair > 0; pair--, index++)
                if (index < text.Length)
                    result.Append(text[index]);
        }
        return index < text.Length ? result.Append(text, index, text.Length - index).ToString() : result.ToString();
    }

    private static Filter Make(Func<string, Arguments, object?> filter) => (rendering, value, arguments) =>
    {
        var text = Printing.ToText(value, arguments.At);
        rendering.ChargeText(text.Length, arguments.At);
        return filter(text, arguments);
    };

    private static string Truncate(string text, Arguments arguments)
    {
        arguments.Check("truncate", 4, "length", "killwords", "end", "leeway");
        var length = arguments.Integer(0, "length", 255);
        var end = arguments.OptionalText(2, "end") ?? "...";
        var room = length - PythonText.Length(end);
        if (room < 0)
            throw arguments.At.Error("the argument 'length' is shorter than the end.");
        if (PythonText.Length(text) <= length + arguments.Integer(3, "leeway", 5))
            return text;
        var kept = text[..PythonText.IndexOf(text, (int)room)];
        var space = arguments.Flag(1, "killwords") ? -1 : kept.LastIndexOf(' ');
        return (space < 0 ? kept : kept[..space]) + end;
    }

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
