using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Text;

/// <summary>What stands beside tokenizer.json: the names of the special tokens and the chat template.</summary>
/// <param name="BosToken">The token that begins a text, if the model has one.</param>
/// <param name="EosToken">The token that ends one.</param>
/// <param name="ChatTemplate">The source of the chat template.</param>
/// <param name="AddedTokens">Added tokens that tokenizer.json may lack, by id.</param>
/// <param name="SpecialTokens">The special tokens by role, as templates name them: <c>bos_token</c> and so on.</param>
internal sealed record TokenizerSettings(
    string? BosToken, string? EosToken, string? ChatTemplate, JsonObject? AddedTokens, IReadOnlyDictionary<string, string> SpecialTokens)
{
    private static readonly string[] Roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    /// <summary>Reads what a model's folder holds beside the tokenizer.</summary>
    public static TokenizerSettings FromFolder(string folder)
    {
        byte[]? Optional(string name) => File.Exists(Path.Combine(folder, name)) ? File.ReadAllBytes(Path.Combine(folder, name)) : null;
        var template = Optional("chat_template.jinja");
        return Read(Optional("tokenizer_config.json"), Optional("special_tokens_map.json"),
            template is not null ? Encoding.UTF8.GetString(template) : Template(Parse(Optional("chat_template.json"), "chat_template.json")["chat_template"]));
    }

    /// <summary>Reads tokenizer_config.json and the files that may complete it.</summary>
    /// <param name="config">tokenizer_config.json, null if absent.</param>
    /// <param name="map">special_tokens_map.json, null if absent.</param>
    /// <param name="template">chat_template.jinja, which goes before the one in the configuration; null if absent.</param>
    public static TokenizerSettings Read(byte[]? config, byte[]? map, string? template)
    {
        var settings = Parse(config, "tokenizer_config.json");
        var names = Parse(map, "special_tokens_map.json");
        var tokens = new Dictionary<string, string>();
        foreach (var role in Roles)
            if ((Name(settings[role]) ?? Name(names[role])) is { } token)
                tokens[role] = token;
        return new(tokens.GetValueOrDefault("bos_token"), tokens.GetValueOrDefault("eos_token"),
            template ?? Template(settings["chat_template"]), settings["added_tokens_decoder"] as JsonObject, tokens);
    }

    /// <summary>What a GGUF file says.</summary>
    public static TokenizerSettings Of(string? bos, string? eos, string? template)
    {
        var tokens = new Dictionary<string, string>();
        if (bos is not null)
            tokens["bos_token"] = bos;
        if (eos is not null)
            tokens["eos_token"] = eos;
        return new(bos, eos, template, AddedTokens: null, tokens);
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
