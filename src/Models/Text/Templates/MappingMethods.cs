namespace XDeepServe.Models.Text.Templates;

/// <summary>The methods of mappings.</summary>
internal static class MappingMethods
{
    /// <summary>A method, null if mappings have no such.</summary>
    public static Filter? Find(string name) => name switch
    {
        "items" => (_, value, _) => Items(Of(value)),
        "keys" => (_, value, _) => new List<object?>(Of(value).Keys),
        "values" => (_, value, _) => new List<object?>(Of(value).Values),
        "get" => (_, value, arguments) => arguments.Get(0, "key") is string key && Of(value).TryGetValue(key, out var entry)
            ? entry : arguments.Get(1, "default", null),
        "copy" => (_, value, _) => value, // nothing changes a mapping
        "update" or "pop" or "popitem" or "setdefault" or "clear" => (_, _, arguments) =>
            throw arguments.At.Error($"'{name}' would change a mapping, which templates must not."),
        _ => null,
    };

    /// <summary>The entries as pairs of key and value.</summary>
    public static List<object?> Items(OrderedDictionary<string, object?> mapping) =>
        [.. mapping.Select(entry => (object?)new[] { entry.Key, entry.Value })];

    private static OrderedDictionary<string, object?> Of(object? value) => (OrderedDictionary<string, object?>)value!;
}
