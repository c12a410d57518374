using System.Text.Json;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>Fields of one example, with errors that name file, line and field.</summary>
/// <param name="path">The file.</param>
/// <param name="line">From 1.</param>
/// <param name="json">The object.</param>
public sealed class Row(string path, int line, JsonElement json)
{
    /// <summary>Whether a field is there and not null.</summary>
    public bool Has(string field) => json.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>A field that must be there.</summary>
    public JsonElement Required(string field) => Has(field) ? json.GetProperty(field) : throw Wrong(field, $"is missing; the fields are {string.Join(", ", json.EnumerateObject().Select(one => one.Name))}");

    /// <summary>A string that must be there.</summary>
    public string Text(string field) => Required(field) is { ValueKind: JsonValueKind.String } value ? value.GetString()! : throw Wrong(field, "must be a string");

    /// <summary>A string or number as text; empty if absent.</summary>
    public string Name(string field) => !Has(field) ? "" : json.GetProperty(field) is { ValueKind: JsonValueKind.String } text ? text.GetString()! : json.GetProperty(field).GetRawText();

    /// <summary>A list of strings that must be there.</summary>
    public IReadOnlyList<string> Texts(string field) =>
        Required(field) is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            ? [.. list.EnumerateArray().Select(item => item.GetString()!)]
            : throw Wrong(field, "must be a list of strings");

    /// <summary>A conversation: a string (one question) or a list of messages with role and content.</summary>
    public IReadOnlyList<Message> Messages(string field)
    {
        JsonElement value = Required(field);
        if (value.ValueKind == JsonValueKind.String)
            return Message.Question(value.GetString()!);
        if (value.ValueKind != JsonValueKind.Array)
            throw Wrong(field, "must be a string or a list of messages");
        return [.. value.EnumerateArray().Select(item =>
            item.ValueKind == JsonValueKind.Object && item.TryGetProperty("role", out JsonElement role) && item.TryGetProperty("content", out JsonElement content)
            && role.ValueKind == JsonValueKind.String && content.ValueKind == JsonValueKind.String
                ? new Message(role.GetString()!, content.GetString()!)
                : throw Wrong(field, "must hold messages with 'role' and 'content'"))];
    }

    /// <summary>Says what is wrong with a field.</summary>
    public DataException Wrong(string field, string what) => new($"{path}, line {line}: '{field}' {what}.");
}
