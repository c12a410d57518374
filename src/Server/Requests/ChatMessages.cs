using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Images;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>
/// Reads <c>messages</c> into what a chat template takes: role and content as strings; content with images as a list of parts,
/// <c>{"type": "image"}</c> and <c>{"type": "text", "text"}</c>.
/// </summary>
internal static class ChatMessages
{
    private const int Most = 10_000;

    /// <summary>The conversations of a request: one, or a list of them.</summary>
    /// <param name="fields">The request.</param>
    /// <returns>Each conversation's messages, and where it stands.</returns>
    /// <exception cref="ApiException">400 for none at all.</exception>
    public static IReadOnlyList<(List<JsonElement> Messages, string Path)> Conversations(JsonFields fields)
    {
        List<JsonElement> given = fields.Array("messages", Most)
            ?? throw ApiException.BadRequest("'messages' is missing.", "messages");
        return given is [{ ValueKind: JsonValueKind.Array }, ..] && given.TrueForAll(one => one.ValueKind == JsonValueKind.Array)
            ? [.. given.Select((one, index) => (one.EnumerateArray().ToList(), $"messages[{index}]"))]
            : [(given, "messages")];
    }

    /// <summary>The messages of a conversation.</summary>
    /// <param name="given">As the request holds them.</param>
    /// <param name="path">Where they stand.</param>
    /// <param name="images">Takes the images.</param>
    /// <exception cref="ApiException">400 for none at all, an unknown role, or content that cannot be taken.</exception>
    public static JsonArray Read(List<JsonElement> given, string path, GivenImages images)
    {
        if (given.Count == 0)
        {
            throw ApiException.BadRequest($"'{path}' must hold at least one message.", "messages");
        }
        JsonArray messages = [];
        for (int i = 0; i < given.Count; i++)
        {
            messages.Add((JsonNode)ReadOne(given[i], $"{path}[{i}]", images));
        }
        return messages;
    }

    private static JsonObject ReadOne(JsonElement given, string path, GivenImages images)
    {
        JsonFields message = new(given, path);
        string role = message.String("role") ?? throw ApiException.BadRequest($"'{path}.role' is missing.", $"{path}.role");
        JsonObject result = new()
        {
            ["role"] = Role(role, $"{path}.role"),
            ["content"] = Content(message.Find("content"), role, $"{path}.content", images),
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

    private static JsonNode Content(JsonElement? content, string role, string name, GivenImages images)
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
                return Parts(parts, name, images);
            default:
                throw ApiException.BadRequest($"'{name}' must be a string or an array of parts.", name);
        }
    }

    // Text parts alone become lines of one text, as templates that expect a string are served elsewhere.
    private static JsonNode Parts(JsonElement parts, string name, GivenImages images)
    {
        JsonArray content = [];
        bool pictured = false;
        foreach (JsonElement given in parts.EnumerateArray())
        {
            string path = $"{name}[{content.Count}]";
            if (given.ValueKind == JsonValueKind.String)
            {
                content.Add((JsonNode)TextPart(JsonFields.Text(given, path)));
                continue;
            }
            JsonFields part = new(given, path);
            switch (part.String("type"))
            {
                case "text" or "input_text" or "output_text":
                    content.Add((JsonNode)TextPart(part.String("text") ?? throw ApiException.BadRequest($"'{path}.text' is missing.", $"{path}.text")));
                    break;
                case "image_url" or "input_image":
                    images.Add(part, path);
                    content.Add((JsonNode)new JsonObject { ["type"] = "image" });
                    pictured = true;
                    break;
                case var type:
                    throw ApiException.BadRequest($"'{path}' is of type '{type}', but only 'text' and, where the model takes images, 'image_url' can be taken.", path);
            }
        }
        return pictured ? content : ImageInput.Text(content, null);
    }

    private static JsonObject TextPart(string text) => new() { ["type"] = "text", ["text"] = text };
}
