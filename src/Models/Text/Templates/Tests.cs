namespace XDeepServe.Models.Text.Templates;

/// <summary>The tests that a template may name behind <c>is</c>.</summary>
internal static class Tests
{
    /// <summary>A test, null if it is not supported.</summary>
    public static Test? Find(string name) => name switch
    {
        "defined" => (value, _) => value is not Undefined,
        "undefined" => (value, _) => value is Undefined,
        "none" => (value, _) => value is null,
        "boolean" => (value, _) => value is bool,
        "true" => (value, _) => value is true,
        "false" => (value, _) => value is false,
        "integer" => (value, _) => value is long or System.Numerics.BigInteger,
        "float" => (value, _) => value is double,
        "number" => (value, _) => value is System.Numerics.BigInteger || Values.IsNumber(value, out var _),
        "string" => (value, _) => value is string,
        "mapping" => (value, _) => value is OrderedDictionary<string, object?>,
        "sequence" => (value, _) => value is string or IReadOnlyList<object?> or OrderedDictionary<string, object?> or Undefined,
        "iterable" => (value, _) => value is string or IReadOnlyList<object?> or OrderedDictionary<string, object?> or Undefined,
        "callable" => (value, _) => value is Function or MacroValue or LoopState,
        "odd" => (value, arguments) => Arithmetic.Apply(arguments.Rendering, "%", value, 2L, arguments.At) is 1L or 1.0,
        "even" => (value, arguments) => Arithmetic.Apply(arguments.Rendering, "%", value, 2L, arguments.At) is 0L or 0.0,
        "divisibleby" => (value, arguments) => arguments.Integer(0, "num", 0) is not 0 and var divisor
            ? Whole(value, arguments) % divisor == 0 : throw arguments.At.Error("division by zero."),
        "lower" => (value, arguments) => Printing.ToText(value, arguments.At) is var text && text.Any(char.IsLetter) && text.Equals(text.ToLowerInvariant(), StringComparison.Ordinal),
        "upper" => (value, arguments) => Printing.ToText(value, arguments.At) is var text && text.Any(char.IsLetter) && text.Equals(text.ToUpperInvariant(), StringComparison.Ordinal),
        "filter" => (value, _) => value is string name && Filters.Find(name) is not null,
        "test" => (value, _) => value is string name && Find(name) is not null,
        "escaped" => (_, _) => false, // nothing is marked as escaped
        "eq" or "==" or "equalto" or "sameas" => (value, arguments) => Values.Equals(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At),
        "ne" or "!=" => (value, arguments) => !Values.Equals(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At),
        "lt" or "<" or "lessthan" => (value, arguments) => Values.Compare(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At) < 0,
        "le" or "<=" => (value, arguments) => Values.Compare(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At) <= 0,
        "gt" or ">" or "greaterthan" => (value, arguments) => Values.Compare(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At) > 0,
        "ge" or ">=" => (value, arguments) => Values.Compare(arguments.Rendering, value, arguments.Get(0, "other"), arguments.At) >= 0,
        "in" => (value, arguments) => Values.Contains(arguments.Rendering, arguments.Get(0, "seq"), value, arguments.At),
        _ => null,
    };

    private static long Whole(object? value, Arguments arguments) =>
        Values.IsInteger(value, out var number) ? number : throw arguments.At.Error($"a whole number is needed, not {Values.TypeName(value)}.");
}
