using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Text;

/// <summary>What stands beside tokenizer.json: the names of the special tokens and the chat template.</summary>
/// <param name="BosToken">The token that begins a text, if the model has one.</param>
/// <param name="EosToken">The token that ends one.</param>
/// <param name="ChatTemplate">The source of the chat template.</param>
/// <param name="AddedTokens">Added tokens that tokenizer.json may lack, by id.</param>
internal sealed record TokenizerSettings(string? BosToken, string? EosToken, string? ChatTemplate, JsonObject? AddedTokens)
{
    /// <summary>Reads tokenizer_config.json and the files that may complete it.</summary>
    /// <param name="config">tokenizer_config.json, null if absent.</param>
    /// <param name="map">special_tokens_map.json, null if absent.</param>
    /// <param name="template">chat_template.jinja, which goes before the one in the configuration; null if absent.</param>
    public static TokenizerSettings Read(byte[]? config, byte[]? map, string? template)
    {
        var settings = Parse(config, "tokenizer_config.json");
        var names = Parse(map, "special_tokens_map.json");
        return new(
            Name(settings["bos_token"]) ?? Name(names["bos_token"]),
            Name(settings["eos_token"]) ?? Name(names["eos_token"]),
            template ?? Template(settings["chat_template"]),
            settings["added_tokens_decoder"] as JsonObject);
    }

    private static JsonObject Parse(byte[]? json, string file)
    {
        if (json is null)
            return [];
        try
        {
            return JsonNode.Parse(json) as JsonObject
                ?? throw new TokenizerException($"{file} does not hold a JSON object.");
        }
        catch (JsonException error)
        {
            throw new TokenizerException($"{file} is not valid JSON: {error.Message}", error);
        }
    }

    /// <summary>A token is given as its text or as an object with its content.</summary>
    private static string? Name(JsonNode? node) => node switch
    {
        JsonValue value when value.TryGetValue<string>(out var text) => text,
        JsonObject token => Name(token["content"]),
        _ => null,
    };

    /// <summary>A template is given as its source or as a list of named ones, of which the default is taken.</summary>
    private static string? Template(JsonNode? node) => node switch
    {
        JsonValue value when value.TryGetValue<string>(out var text) => text,
        JsonArray list => list.OfType<JsonObject>()
            .OrderByDescending(entry => Name(entry["name"]) == "default")
            .Select(entry => Name(entry["template"])).FirstOrDefault(),
        _ => null,
    };
}
