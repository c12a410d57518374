using System.Text.Json;

namespace XDeepServe.Models.Text;

/// <summary>Reads single settings of a tokenizer.json.</summary>
internal static class Settings
{
    private const int Deepest = 32; // sequences within sequences

    /// <summary>A setting and, where it is a sequence, those in it; in order.</summary>
    /// <param name="part">The setting, null if absent.</param>
    /// <param name="list">The name of a sequence's list.</param>
    public static IReadOnlyList<JsonElement> Flatten(JsonElement? part, string list)
    {
        var settings = new List<JsonElement>();
        if (part is { } element)
            Collect(element, 0);
        return settings;

        void Collect(JsonElement setting, int depth)
        {
            if (Kind(setting) != "Sequence")
                settings.Add(setting);
            else if (depth == Deepest)
                throw new TokenizerException("tokenizer.json nests its sequences too deeply.");
            else
                foreach (var inner in setting.GetProperty(list).EnumerateArray())
                    Collect(inner, depth + 1);
        }
    }

    /// <summary>The type of a setting.</summary>
    public static string Kind(JsonElement element) => element.GetProperty("type").GetString() ?? "null";

    /// <summary>A text that must be there.</summary>
    public static string Text(JsonElement element, string name) => Text(element.GetProperty(name));

    /// <summary>A value that must be a text.</summary>
    public static string Text(JsonElement value) =>
        value.GetString() ?? throw new FormatException("a string is needed where null is given.");

    /// <summary>A single character that must be there.</summary>
    public static char Character(JsonElement element, string name) => Text(element, name) is { Length: 1 } text
        ? text[0] : throw new FormatException($"'{name}' must be a single character.");

    /// <summary>A yes or no that may be absent.</summary>
    public static bool Flag(JsonElement element, string name, bool otherwise) =>
        element.TryGetProperty(name, out var flag) && flag.ValueKind != JsonValueKind.Null ? flag.GetBoolean() : otherwise;

    /// <summary>A setting that is refused.</summary>
    /// <param name="what">What it is.</param>
    /// <param name="name">Its value.</param>
    public static TokenizerException Unsupported(string what, string? name) =>
        new($"tokenizer.json asks for the {what} \"{name}\", which is not supported.");
}
