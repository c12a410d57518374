namespace XDeepServe.Models.Text.Templates;

/// <summary>The methods of mappings.</summary>
internal static class MappingMethods
{
    /// <summary>A method, null if mappings have no such.</summary>
    public static Filter? Find(string name) => name switch
    {
        "items" => (rendering, value, arguments) => Items(rendering, Of(value), arguments.At),
        "keys" => (rendering, value, arguments) => new List<object?>(Values.Iterate(rendering, value, arguments.At)),
        "values" => (rendering, value, arguments) => Items(rendering, Of(value), arguments.At).Select(pair => ((object?[])pair!)[1]).ToList(),
        "get" => (_, value, arguments) => arguments.Get(0, "key") is string key && Of(value).TryGetValue(key, out var entry)
            ? entry : arguments.Get(1, "default", null),
        "copy" => (_, value, _) => value, // nothing changes a mapping
        "update" or "pop" or "popitem" or "setdefault" or "clear" => (_, _, arguments) =>
            throw arguments.At.Error($"'{name}' would change a mapping, which templates must not."),
        _ => null,
    };

    /// <summary>The entries as pairs of key and value.</summary>
    public static List<object?> Items(Rendering rendering, OrderedDictionary<string, object?> mapping, Position at)
    {
        rendering.ChargeList(mapping.Count, at);
        return [.. mapping.Select(entry => (object?)new[] { entry.Key, entry.Value })];
    }

    private static OrderedDictionary<string, object?> Of(object? value) => (OrderedDictionary<string, object?>)value!;
}
