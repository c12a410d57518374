using System.Globalization;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Filters that work on any value, on numbers or on mappings.</summary>
internal static class ValueFilters
{
    /// <summary>A filter, null if it is not here.</summary>
    public static Filter? Find(string name) => name switch
    {
        "default" or "d" => Default,
        "tojson" => ToJson,
        "string" => (rendering, value, arguments) => Text(rendering, value, arguments),
        "int" => (rendering, value, arguments) => ToInteger(value, arguments),
        "float" => (rendering, value, arguments) => ToFloat(value, arguments),
        "abs" => (rendering, value, arguments) => value switch
        {
            double number => (object)Math.Abs(number),
            long number and not long.MinValue => Math.Abs(number),
            bool flag => flag ? 1L : 0L,
            _ => throw arguments.At.Error($"abs does not work on {Values.TypeName(value)}."),
        },
        "round" => (rendering, value, arguments) => Round(value, arguments),
        "items" => (rendering, value, arguments) => value is Undefined ? new List<object?>() : MappingMethods.Items(rendering, Mapping(value, arguments), arguments.At),
        "dictsort" => SortMapping,
        "attr" => (rendering, value, arguments) => AttributeAccess.Get(value, arguments.Text(0, "name"), arguments.At),
        _ => null,
    };

    private static string Text(Rendering rendering, object? value, Arguments arguments)
    {
        var text = Printing.ToText(value, arguments.At);
        rendering.ChargeText(text.Length, arguments.At);
        return text;
    }

    private static List<object?> SortMapping(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("dictsort", 3, "case_sensitive", "by", "reverse");
        var sensitive = arguments.Flag(0, "case_sensitive");
        var place = (arguments.OptionalText(1, "by") ?? "key") switch
        {
            "key" => 0,
            "value" => 1,
            _ => throw arguments.At.Error("dictsort goes by 'key' or 'value'."),
        };
        var pairs = MappingMethods.Items(rendering, Mapping(value, arguments), arguments.At);
        return ListFilters.SortBy(rendering, pairs, pair => ((object?[])pair!)[place], sensitive, arguments.Flag(2, "reverse"), arguments.At);
    }

    private static object? Default(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("default", 2, "default_value", "boolean");
        var absent = arguments.Flag(1, "boolean") ? !Values.IsTrue(value) : value is Undefined;
        return absent ? arguments.Get(0, "default_value", "") : value;
    }

    /// <summary>As transformers defines it: plain JSON, not escaped for HTML.</summary>
    private static string ToJson(Rendering rendering, object? value, Arguments arguments)
    {
        arguments.Check("tojson", 4, "ensure_ascii", "indent", "separators", "sort_keys");
        var indent = arguments.Get(1, "indent", null) switch
        {
            null => null,
            string text => text,
            var number when Values.IsInteger(number, out var count) && count <= 64 => new string(' ', (int)Math.Max(0, count)),
            _ => throw arguments.At.Error("the argument 'indent' must be a string or a small whole number."),
        };
        var (items, keys) = (indent is null ? ", " : ",", ": ");
        if (arguments.Get(2, "separators", null) is { } separators)
            (items, keys) = separators is IReadOnlyList<object?> { Count: 2 } pair && pair[0] is string first && pair[1] is string second
                ? (first, second) : throw arguments.At.Error("the argument 'separators' must be two strings.");
        var json = new JsonText(indent, items, keys, arguments.Flag(0, "ensure_ascii"), arguments.Flag(3, "sort_keys")).Write(value, arguments.At);
        rendering.ChargeText(json.Length, arguments.At);
        return json;
    }

    private static long ToInteger(object? value, Arguments arguments) => value switch
    {
        long or bool => Values.IsInteger(value, out var number) ? number : 0,
        double number when Math.Abs(number) < 9e18 => (long)number,
        string text when long.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) => number,
        string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && Math.Abs(number) < 9e18 => (long)number,
        Undefined undefined => throw arguments.At.Error(undefined.Reason),
        _ => arguments.Integer(0, "default", 0),
    };

    private static object? ToFloat(object? value, Arguments arguments) => value switch
    {
        Undefined undefined => throw arguments.At.Error(undefined.Reason),
        string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) => number,
        _ => Values.IsNumber(value, out var number) ? number : arguments.Get(0, "default", 0.0),
    };

    private static object Round(object? value, Arguments arguments)
    {
        var digits = (int)Math.Clamp(arguments.Integer(0, "precision", 0), 0, 15);
        if (!Values.IsNumber(value, out var number))
            throw arguments.At.Error($"round does not work on {Values.TypeName(value)}.");
        var scale = Math.Pow(10, digits);
        var method = arguments.OptionalText(1, "method") ?? "common";
        if (value is long or bool && method == "common")
            return value is bool ? (long)number : value;
        return method switch
        {
            "common" => Math.Round(number, digits, MidpointRounding.ToEven),
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => throw arguments.At.Error("the method of round must be 'common', 'ceil' or 'floor'."),
        };
    }

    private static OrderedDictionary<string, object?> Mapping(object? value, Arguments arguments) =>
        value as OrderedDictionary<string, object?> ?? throw arguments.At.Error($"a mapping is needed, not {Values.TypeName(value)}.");
}
