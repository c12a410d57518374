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
        "find" => Make((text, arguments) => Place(text, text.IndexOf(arguments.Text(0, "sub"), StringComparison.Ordinal))),
        "rfind" => Make((text, arguments) => Place(text, text.LastIndexOf(arguments.Text(0, "sub"), StringComparison.Ordinal))),
        "count" => Make((text, arguments) => Count(text, arguments.Text(0, "sub"))),
        "join" => Join,
        "isdigit" => Make((text, _) => text.Length > 0 && text.All(char.IsDigit)),
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
            return separator.Length > 0 ? PythonText.Split(text, separator, most, fromEnd) : throw arguments.At.Error("the separator is empty.");
        if (fromEnd && most >= 0)
            throw arguments.At.Error("rsplit at white space takes no maxsplit here.");
        return PythonText.SplitSpace(text, most);
    }

    private static long Place(string text, int index) => index < 0 ? -1 : PythonText.Length(text[..index]);

    private static long Count(string text, string part)
    {
        if (part.Length == 0)
            return PythonText.Length(text) + 1L;
        var count = 0L;
        for (var index = 0; (index = text.IndexOf(part, index, StringComparison.Ordinal)) >= 0; index += part.Length)
            count++;
        return count;
    }

    private static string Join(Rendering rendering, object? value, Arguments arguments)
    {
        var (separator, parts) = ((string)value!, Values.Iterate(arguments.Get(0, "iterable"), arguments.At));
        var length = (long)separator.Length * parts.Count;
        foreach (var part in parts)
            length += (part as string ?? throw arguments.At.Error($"only strings can be joined, not {Values.TypeName(part)}.")).Length;
        rendering.ChargeText(length, arguments.At);
        return string.Join(separator, parts);
    }
}
