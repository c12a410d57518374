using System.Text.Json;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Typed access to the fields of a JSON object; JSON null counts as absent, a wrong type ends in a 400 that names the field.</summary>
internal sealed class JsonFields
{
    private readonly JsonElement _object;
    private readonly string _path;
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);

    /// <summary>Fields of <paramref name="value"/>, which stands at <paramref name="path"/> in the request (empty for the root).</summary>
    public JsonFields(JsonElement value, string path = "")
    {
        _path = path;
        _object = value.ValueKind == JsonValueKind.Object
            ? value
            : throw ApiException.BadRequest($"'{path}' must be an object.", path);
    }

    /// <summary>The full name of a field, as errors give it.</summary>
    public string Name(string field) => _path.Length == 0 ? field : $"{_path}.{field}";

    /// <summary>The field's value, or null when it is absent or JSON null.</summary>
    public JsonElement? Find(string field)
    {
        _known.Add(field);
        return _object.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    /// <summary>Whether the field is there and JSON null.</summary>
    public bool IsNull(string field) => _object.TryGetProperty(field, out JsonElement value) && value.ValueKind == JsonValueKind.Null;

    /// <summary>Accepts a field that has no effect here.</summary>
    public void Ignore(params ReadOnlySpan<string> fields)
    {
        foreach (string field in fields)
        {
            _known.Add(field);
        }
    }

    /// <summary>A string, or null when absent.</summary>
    public string? String(string field) => Find(field) is { } value ? Text(value, Name(field)) : null;

    /// <summary>The string a JSON element holds.</summary>
    public static string Text(JsonElement value, string name)
    {
        if (value.ValueKind != JsonValueKind.String)
        {
            throw ApiException.BadRequest($"'{name}' must be a string.", name);
        }
        return value.GetString()!;
    }

    /// <summary>A boolean, or null when absent.</summary>
    public bool? Boolean(string field) => Find(field) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        _ => throw ApiException.BadRequest($"'{Name(field)}' must be true or false.", Name(field)),
    };

    /// <summary>A finite number within [<paramref name="min"/>, <paramref name="max"/>], or null when absent.</summary>
    public double? Number(string field, double min = double.MinValue, double max = double.MaxValue) =>
        Find(field) is { } value ? Finite(value, Name(field), min, max) : null;

    /// <summary>The number a JSON element holds.</summary>
    public static double Finite(JsonElement value, string name, double min, double max)
    {
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number) || !double.IsFinite(number))
        {
            throw ApiException.BadRequest($"'{name}' must be a finite number.", name);
        }
        return number >= min && number <= max
            ? number
            : throw ApiException.BadRequest(FormattableString.Invariant($"'{name}' must be {Range(min, max)}, but is {number}."), name);
    }

    /// <summary>A whole number within [<paramref name="min"/>, <paramref name="max"/>], or null when absent.</summary>
    public int? Integer(string field, int min = int.MinValue, int max = int.MaxValue) =>
        Find(field) is { } value ? (int)Whole(value, Name(field), min, max) : null;

    /// <summary>A whole number of 64 bits, or null when absent.</summary>
    public long? Long(string field) => Find(field) is { } value ? Whole(value, Name(field), long.MinValue, long.MaxValue) : null;

    /// <summary>The whole number a JSON element holds; 3.0 counts as one.</summary>
    public static long Whole(JsonElement value, string name, long min, long max)
    {
        if (value.ValueKind != JsonValueKind.Number)
        {
            throw ApiException.BadRequest($"'{name}' must be a whole number.", name);
        }
        if (!value.TryGetInt64(out long number))
        {
            double wide = value.GetDouble();
            if (!double.IsInteger(wide))
            {
                throw ApiException.BadRequest($"'{name}' must be a whole number.", name);
            }
            if (Math.Abs(wide) >= 9.2e18)
            {
                throw ApiException.BadRequest(FormattableString.Invariant($"'{name}' must be {Range(min, max)}, but is {wide}."), name);
            }
            number = (long)wide;
        }
        return number >= min && number <= max
            ? number
            : throw ApiException.BadRequest($"'{name}' must be {Range(min, max)}, but is {number}.", name);
    }

    /// <summary>The elements of an array with at most <paramref name="most"/> of them, or null when absent.</summary>
    public List<JsonElement>? Array(string field, int most)
    {
        if (Find(field) is not { } value)
        {
            return null;
        }
        if (value.ValueKind != JsonValueKind.Array)
        {
            throw ApiException.BadRequest($"'{Name(field)}' must be an array.", Name(field));
        }
        int count = value.GetArrayLength();
        return count <= most
            ? [.. value.EnumerateArray()]
            : throw ApiException.BadRequest($"'{Name(field)}' may hold at most {most} elements, but holds {count}.", Name(field));
    }

    /// <summary>Refuses a field this server does not implement, unless it is absent.</summary>
    public void Refuse(string field, string reason)
    {
        if (Find(field) is not null)
        {
            throw ApiException.BadRequest($"'{Name(field)}' is not supported: {reason}", Name(field));
        }
    }

    /// <summary>Names in the request that nothing asked for.</summary>
    public List<string> Unknown() =>
        [.. _object.EnumerateObject().Select(field => field.Name).Where(name => !_known.Contains(name))];

    private static string Range(double min, double max) => (min > double.MinValue, max < double.MaxValue) switch
    {
        (true, true) => FormattableString.Invariant($"between {min} and {max}"),
        (true, false) => FormattableString.Invariant($"at least {min}"),
        (false, true) => FormattableString.Invariant($"at most {max}"),
        _ => "a finite number",
    };

    private static string Range(long min, long max) => (min > long.MinValue, max < long.MaxValue) switch
    {
        (true, true) => $"between {min} and {max}",
        (true, false) => $"at least {min}",
        (false, true) => $"at most {max}",
        _ => "a whole number of 64 bits",
    };
}
