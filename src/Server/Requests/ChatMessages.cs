using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Reads <c>messages</c> into what a chat template takes: role and content as strings.</summary>
internal static class ChatMessages
{
    private const int Most = 10_000;

    /// <summary>The messages of a request.</summary>
    /// <exception cref="ApiException">400 for none at all, an unknown role, or content that is not text.</exception>
    public static JsonArray Read(JsonFields fields)
    {
        List<JsonElement> given = fields.Array("messages", Most)
            ?? throw ApiException.BadRequest("'messages' is missing.", "messages");
        if (given.Count == 0)
        {
            throw ApiException.BadRequest("'messages' must hold at least one message.", "messages");
        }
        JsonArray messages = [];
        for (int i = 0; i < given.Count; i++)
        {
            messages.Add((JsonNode)ReadOne(given[i], $"messages[{i}]"));
        }
        return messages;
    }

    private static JsonObject ReadOne(JsonElement given, string path)
    {
        JsonFields message = new(given, path);
        string role = message.String("role") ?? throw ApiException.BadRequest($"'{path}.role' is missing.", $"{path}.role");
        JsonObject result = new()
        {
            ["role"] = Role(role, $"{path}.role"),
            ["content"] = Content(message.Find("content"), role, $"{path}.content"),
        };
        if (message.Find("tool_calls") is { } calls && !(calls.ValueKind == JsonValueKind.Array && calls.GetArrayLength() == 0))
        {
            throw ApiException.BadRequest($"'{path}.tool_calls' is not supported: tools are not available here.", $"{path}.tool_calls");
        }
        foreach (string optional in (ReadOnlySpan<string>)["name", "reasoning_content"])
        {
            if (message.String(optional) is { } text)
            {
                result[optional] = text;
            }
        }
        return result;
    }

    // Templates know the older name of a developer's message.
    private static string Role(string role, string name) => role switch
    {
        "system" or "developer" => "system",
        "user" or "assistant" => role,
        "tool" or "function" => throw ApiException.BadRequest($"'{name}' is '{role}', but tools are not available here.", name),
        _ => throw ApiException.BadRequest($"'{name}' is '{role}', which is not one of system, developer, user, assistant.", name),
    };

    private static string Content(JsonElement? content, string role, string name)
    {
        switch (content)
        {
            case null when role == "assistant":
                return "";
            case null:
                throw ApiException.BadRequest($"'{name}' is missing.", name);
            case { ValueKind: JsonValueKind.String } text:
                return JsonFields.Text(text, name);
            case { ValueKind: JsonValueKind.Array } parts:
                return Joined(parts, name);
            default:
                throw ApiException.BadRequest($"'{name}' must be a string or an array of text parts.", name);
        }
    }

    // Several parts become lines of one text, as templates that expect a string are served elsewhere.
    private static string Joined(JsonElement parts, string name)
    {
        StringBuilder text = new();
        int index = 0;
        foreach (JsonElement given in parts.EnumerateArray())
        {
            string path = $"{name}[{index}]";
            if (index++ > 0)
            {
                text.Append('\n');
            }
            if (given.ValueKind == JsonValueKind.String)
            {
                text.Append(JsonFields.Text(given, path));
                continue;
            }
            JsonFields part = new(given, path);
            string? type = part.String("type");
            if (type is not ("text" or "input_text" or "output_text"))
            {
                throw ApiException.BadRequest($"'{path}' is of type '{type}', but this model takes text only.", path);
            }
            text.Append(part.String("text") ?? throw ApiException.BadRequest($"'{path}.text' is missing.", $"{path}.text"));
        }
        return text.ToString();
    }
}
