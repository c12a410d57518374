namespace XDeepServe.Models.Text.Templates;

/// <summary>The methods of strings.</summary>
internal static class TextMethods
{
    /// <summary>A method, null if strings have no such.</summary>
    public static Filter? Find(string name) => name switch
    {
        "strip" => Make((text, arguments) => PythonText.Strip(text, arguments.OptionalText(0, "chars"), start: true, end: true)),
        "lstrip" => Make((text, arguments) => PythonText.Strip(text, arguments.OptionalText(0, "chars"), start: true, end: false)),
        "rstrip" => Make((text, arguments) => PythonText.Strip(text, arguments.OptionalText(0, "chars"), start: false, end: true)),
        "startswith" => Make((text, arguments) => Any(arguments, affix => text.StartsWith(affix, StringComparison.Ordinal))),
        "endswith" => Make((text, arguments) => Any(arguments, affix => text.EndsWith(affix, StringComparison.Ordinal))),
        "removeprefix" => Make((text, arguments) => arguments.Text(0, "prefix") is var affix && text.StartsWith(affix, StringComparison.Ordinal) ? text[affix.Length..] : text),
        "removesuffix" => Make((text, arguments) => arguments.Text(0, "suffix") is var affix && text.EndsWith(affix, StringComparison.Ordinal) ? text[..^affix.Length] : text),
        "split" => (rendering, value, arguments) => Split(rendering, (string)value!, arguments, fromEnd: false),
        "rsplit" => (rendering, value, arguments) => Split(rendering, (string)value!, arguments, fromEnd: true),
        "splitlines" => Make((text, _) => PythonText.Lines(text)),
        "replace" => (rendering, value, arguments) => TextFilters.Replace(rendering, (string)value!, arguments),
        "upper" => Make((text, _) => text.ToUpperInvariant()),
        "lower" => Make((text, _) => text.ToLowerInvariant()),
        "capitalize" => Make((text, _) => PythonText.Capitalize(text)),
        "title" => Make((text, _) => PythonText.Title(text, c => !char.IsLetter(c))),
        "find" => Make((text, arguments) => Find(text, arguments, last: false)),
        "rfind" => Make((text, arguments) => Find(text, arguments, last: true)),
        "index" => Make((text, arguments) => Find(text, arguments, last: false) is >= 0 and var place ? place : throw arguments.At.Error("the text is not found.")),
        "rindex" => Make((text, arguments) => Find(text, arguments, last: true) is >= 0 and var place ? place : throw arguments.At.Error("the text is not found.")),
        "count" => Make((text, arguments) => Count(text, arguments)),
        "partition" => Make((text, arguments) => Partition(text, arguments, last: false)),
        "rpartition" => Make((text, arguments) => Partition(text, arguments, last: true)),
        "ljust" => Make((text, arguments) => Pad(text, arguments, 0)),
        "rjust" => Make((text, arguments) => Pad(text, arguments, 2)),
        "center" => Make((text, arguments) => Pad(text, arguments, 1)),
        "zfill" => Make(ZeroFill),
        "swapcase" => Make((text, _) => string.Concat(text.Select(c => char.IsUpper(c) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c)))),
        "casefold" => Make((text, _) => text.ToLowerInvariant().Replace("ß", "ss", StringComparison.Ordinal)),
        "format" => (rendering, value, arguments) => BraceFormat.Write((string)value!, arguments),
        "join" => Join,
        "isdigit" => Make((text, _) => text.Length > 0 && text.All(c => char.IsDigit(c) || c is '²' or '³' or '¹')),
        "isdecimal" => Make((text, _) => text.Length > 0 && text.All(char.IsDigit)),
        "isnumeric" => Make((text, _) => text.Length > 0 && text.All(char.IsNumber)),
        "isascii" => Make((text, _) => text.All(char.IsAscii)),
        "isalpha" => Make((text, _) => text.Length > 0 && text.All(char.IsLetter)),
        "isalnum" => Make((text, _) => text.Length > 0 && text.All(char.IsLetterOrDigit)),
        "isspace" => Make((text, _) => text.Length > 0 && text.All(PythonText.IsSpace)),
        "isupper" => Make((text, _) => text.Any(char.IsLetter) && text.Equals(text.ToUpperInvariant(), StringComparison.Ordinal)),
        "islower" => Make((text, _) => text.Any(char.IsLetter) && text.Equals(text.ToLowerInvariant(), StringComparison.Ordinal)),
        _ => null,
    };

    private static Filter Make(Func<string, Arguments, object?> method) => (rendering, value, arguments) =>
    {
        var text = (string)value!;
        rendering.ChargeText(text.Length, arguments.At);
        return method(text, arguments);
    };

    private static bool Any(Arguments arguments, Func<string, bool> has) => arguments.Get(0, "prefix") switch
    {
        string affix => has(affix),
        object?[] affixes when affixes.All(affix => affix is string) => affixes.Any(affix => has((string)affix!)),
        _ => throw arguments.At.Error("a string or a tuple of strings is needed."),
    };

    private static List<object?> Split(Rendering rendering, string text, Arguments arguments, bool fromEnd)
    {
        arguments.Check("split", 2, "sep", "maxsplit");
        var most = arguments.Integer(1, "maxsplit", -1);
        rendering.ChargeText(text.Length * 8L, arguments.At);
        if (arguments.OptionalText(0, "sep") is { } separator)
        {
            rendering.ChargeSearch(text.Length, separator.Length, arguments.At);
            return separator.Length > 0 ? PythonText.Split(text, separator, most, fromEnd) : throw arguments.At.Error("the separator is empty.");
        }
        return fromEnd && most >= 0 ? PythonText.SplitSpaceFromEnd(text, most) : PythonText.SplitSpace(text, most);
    }

    private static long Find(string text, Arguments arguments, bool last)
    {
        var part = arguments.Text(0, "sub");
        arguments.Rendering.ChargeSearch(text.Length, part.Length, arguments.At);
        var (start, end) = Bounds(text, arguments);
        if (start > end)
            return -1;
        var range = text.AsSpan(start, end - start);
        var index = last ? range.LastIndexOf(part) : range.IndexOf(part);
        return index < 0 ? -1 : PythonText.Length(text[..(start + index)]);
    }

    /// <summary>The range that the arguments <c>start</c> and <c>end</c> name, in UTF-16; the start is past the end if there is none.</summary>
    private static (int Start, int End) Bounds(string text, Arguments arguments)
    {
        if (arguments.Positional.Count < 2)
            return (0, text.Length);
        var length = PythonText.Length(text);
        int Place(long index) => PythonText.IndexOf(text, (int)Math.Clamp(index < 0 ? index + length : index, 0, length));
        var start = arguments.Integer(1, "start", 0);
        if (start > length)
            return (1, 0);
        return (Place(start), arguments.Get(2, "end", null) is null ? text.Length : Place(arguments.Integer(2, "end", 0)));
    }

    private static long Count(string text, Arguments arguments)
    {
        var part = arguments.Text(0, "sub");
        if (part.Length == 0)
            return PythonText.Length(text) + 1L;
        arguments.Rendering.ChargeSearch(text.Length, part.Length, arguments.At);
        var count = 0L;
        for (var index = 0; (index = text.IndexOf(part, index, StringComparison.Ordinal)) >= 0; index += part.Length)
            count++;
        return count;
    }

    private static object?[] Partition(string text, Arguments arguments, bool last)
    {
        var separator = arguments.Text(0, "sep");
        if (separator.Length == 0)
            throw arguments.At.Error("the separator is empty.");
        arguments.Rendering.ChargeSearch(text.Length, separator.Length, arguments.At);
        var index = last ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        if (index < 0)
            return last ? ["", "", text] : [text, "", ""];
        return [text[..index], separator, text[(index + separator.Length)..]];
    }

    private static string Pad(string text, Arguments arguments, int left)
    {
        var fill = arguments.OptionalText(1, "fillchar") ?? " ";
        var missing = Math.Max(0, arguments.Integer(0, "width", 0) - PythonText.Length(text));
        arguments.Rendering.ChargeText(missing, arguments.At);
        if (fill.Length != 1)
            throw arguments.At.Error("the filling must be a single character.");
        // Python centers towards the left if both the text and the room are odd.
        var before = left == 1 ? missing / 2 + (missing & (missing + PythonText.Length(text)) & 1) : left == 2 ? missing : 0;
        return new string(fill[0], (int)before) + text + new string(fill[0], (int)(missing - before));
    }

    private static string ZeroFill(string text, Arguments arguments)
    {
        var missing = Math.Max(0, arguments.Integer(0, "width", 0) - PythonText.Length(text));
        arguments.Rendering.ChargeText(missing, arguments.At);
        var sign = text.StartsWith('-') || text.StartsWith('+') ? 1 : 0;
        return string.Concat(text.AsSpan(0, sign), new string('0', (int)missing), text.AsSpan(sign));
    }

    private static string Join(Rendering rendering, object? value, Arguments arguments)
    {
        var (separator, parts) = ((string)value!, Values.Iterate(rendering, arguments.Get(0, "iterable"), arguments.At));
        var length = (long)separator.Length * parts.Count;
        foreach (var part in parts)
            length += (part as string ?? throw arguments.At.Error($"only strings can be joined, not {Values.TypeName(part)}.")).Length;
        rendering.ChargeText(length, arguments.At);
        return string.Join(separator, parts);
    }
}
