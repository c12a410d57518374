using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>
/// Reads keys of a Hugging Face <c>config.json</c> and checks their types and ranges. Every complaint is a
/// <see cref="ModelLoadException"/> that names the file and the key. A key that is null counts as missing.
/// </summary>
/// <param name="json">The object.</param>
/// <param name="source">Where it stands, for messages: <c>config.json</c>, or <c>config.json: rope_scaling</c>.</param>
/// <param name="defaults">Values of keys that the object lacks altogether; null for none.</param>
public sealed class ConfigReader(JsonObject json, string source, JsonObject? defaults = null)
{
    /// <summary>True if the key is there and is not null.</summary>
    public bool Has(string key) => Value(key) is not null;

    /// <summary>The same object with the values that its architecture's published code gives to keys that are not there. A null stays null.</summary>
    /// <param name="values">A JSON object.</param>
    public ConfigReader Or(string values) => new(json, source, JsonNode.Parse(values)!.AsObject());

    /// <summary>The first of several spellings that is there; else the first that has a default; else the first of all.</summary>
    public string Spelling(params ReadOnlySpan<string> keys)
    {
        foreach (string key in keys)
            if (json[key] is not null)
                return key;
        foreach (string key in keys)
            if (Has(key))
                return key;
        return keys[0];
    }

    /// <summary>A whole number between <paramref name="least"/> and <paramref name="most"/>.</summary>
    /// <exception cref="ModelLoadException">Missing without a fallback, not a whole number, or out of range.</exception>
    public int Integer(string key, int least, int most = int.MaxValue, int? fallback = null)
    {
        if (!Has(key))
            return fallback ?? throw Missing(key);
        double value = Number(key);
        if (value != Math.Floor(value))
            throw Wrong(key, "must be a whole number");
        if (value < least || value > most)
            throw Wrong(key, most == int.MaxValue ? $"must be at least {least}" : $"must be from {least} to {most}");
        return (int)value;
    }

    /// <summary>A finite number of at least <paramref name="least"/>.</summary>
    /// <exception cref="ModelLoadException">Missing without a fallback, not a number, or out of range.</exception>
    public double Real(string key, double least, double? fallback = null)
    {
        if (!Has(key))
            return fallback ?? throw Missing(key);
        double value = Number(key);
        if (!double.IsFinite(value) || value < least)
            throw Wrong(key, string.Create(CultureInfo.InvariantCulture, $"must be at least {least}"));
        return value;
    }

    /// <summary>True or false.</summary>
    /// <exception cref="ModelLoadException">Something else.</exception>
    public bool Flag(string key, bool fallback) => Value(key) switch
    {
        null => fallback,
        JsonNode node when node.GetValueKind() is JsonValueKind.True => true,
        JsonNode node when node.GetValueKind() is JsonValueKind.False => false,
        _ => throw Wrong(key, "must be true or false"),
    };

    /// <summary>A string; null if it is missing.</summary>
    /// <exception cref="ModelLoadException">Something else.</exception>
    public string? Text(string key) => Value(key) switch
    {
        null => null,
        JsonNode node when node.GetValueKind() is JsonValueKind.String => node.GetValue<string>(),
        _ => throw Wrong(key, "must be a string"),
    };

    /// <summary>Strings of a list; empty if it is missing.</summary>
    /// <exception cref="ModelLoadException">Not a list of strings.</exception>
    public IReadOnlyList<string> Texts(string key)
    {
        if (Value(key) is not { } node)
            return [];
        if (node is not JsonArray list || list.Any(item => item?.GetValueKind() is not JsonValueKind.String))
            throw Wrong(key, "must be a list of strings");
        return [.. list.Select(item => item!.GetValue<string>())];
    }

    /// <summary>A whole number or a list of them, as <c>eos_token_id</c> is written; empty if it is missing.</summary>
    /// <exception cref="ModelLoadException">Something else, or one below 0.</exception>
    public IReadOnlyList<int> Integers(string key)
    {
        if (Value(key) is not { } node)
            return [];
        IEnumerable<JsonNode?> items = node is JsonArray list ? list.AsEnumerable() : new[] { node };
        var values = new List<int>();
        foreach (JsonNode? item in items)
        {
            if (item?.GetValueKind() is not JsonValueKind.Number || !TryNumber(item, out double value)
                || value < 0 || value > int.MaxValue || value != Math.Floor(value))
            {
                throw Wrong(key, "must be a token id or a list of token ids");
            }
            values.Add((int)value);
        }
        return values;
    }

    /// <summary>Finite numbers of a list; empty if it is missing.</summary>
    /// <exception cref="ModelLoadException">Something else.</exception>
    public IReadOnlyList<double> Reals(string key)
    {
        var values = new List<double>();
        foreach (JsonNode? item in Value(key) switch { null => [], JsonArray list => list.AsEnumerable(), _ => throw Wrong(key, "must be a list of numbers") })
        {
            if (item?.GetValueKind() is not JsonValueKind.Number || !TryNumber(item, out double value) || !double.IsFinite(value))
                throw Wrong(key, "must be a list of numbers");
            values.Add(value);
        }
        return values;
    }

    /// <summary>Whether the key holds an object.</summary>
    public bool IsObject(string key) => Value(key) is JsonObject;

    /// <summary>An object as it is; null if it is missing.</summary>
    /// <exception cref="ModelLoadException">Something else.</exception>
    public JsonObject? Object(string key) => Value(key) switch
    {
        null => null,
        JsonObject value => value,
        _ => throw Wrong(key, "must be an object"),
    };

    /// <summary>A nested object; null if it is missing.</summary>
    /// <exception cref="ModelLoadException">Not an object.</exception>
    public ConfigReader? Section(string key) => Value(key) switch
    {
        null => null,
        JsonObject section => new ConfigReader(section, $"{source}: {key}"),
        _ => throw Wrong(key, "must be an object"),
    };

    /// <summary>The complaint that a key holds something that cannot be served.</summary>
    public ModelLoadException Wrong(string key, string rule)
    {
        string value = Value(key)?.ToJsonString() ?? "null";
        if (value.Length > 60)
            value = value[..60] + "…";
        return new ModelLoadException($"{source}: '{key}' is {value}, but {rule}.");
    }

    /// <summary>A complaint about how several keys fit together.</summary>
    public ModelLoadException Inconsistent(string what) => new($"{source}: {what}.");

    private ModelLoadException Missing(string key) =>
        new($"{source}: '{key}' is missing. Take the config.json that was published with the weights.");

    private double Number(string key)
    {
        JsonNode node = Value(key)!;
        if (node.GetValueKind() is not JsonValueKind.Number || !TryNumber(node, out double value))
            throw Wrong(key, "must be a number");
        return value;
    }

    private JsonNode? Value(string key) => json.TryGetPropertyValue(key, out JsonNode? value) ? value : defaults?[key];

    // By way of the text, because a value may be backed by parsed JSON or by any CLR number.
    private static bool TryNumber(JsonNode node, out double value) =>
        double.TryParse(node.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out value);
}
