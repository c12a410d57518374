using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe.Speculating;

namespace XDeepServe.Cli;

/// <summary>The JSON of <c>--speculative-config</c>, with vLLM's keys.</summary>
/// <param name="Options">Settings; without the draft model itself.</param>
/// <param name="DraftModel">Folder or GGUF file of the draft model; null for the other methods.</param>
internal sealed record SpeculativeConfig(SpeculationOptions Options, string? DraftModel)
{
    /// <summary>Reads it.</summary>
    /// <exception cref="ArgumentException">It is no object, or a key is unknown or wrong; says which.</exception>
    public static SpeculativeConfig Parse(string json)
    {
        JsonObject config;
        try
        {
            config = JsonNode.Parse(json, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject ?? throw Wrong("must be a JSON object");
        }
        catch (JsonException error)
        {
            throw Wrong($"is not valid JSON: {error.Message}");
        }
        string? method = null, model = null;
        int? tokens = null, limit = null, least = null, most = null;
        foreach ((string key, JsonNode? value) in config)
        {
            switch (key)
            {
                case "method": method = Text(key, value); break;
                case "model": model = Text(key, value); break;
                case "num_speculative_tokens": tokens = Integer(key, value); break;
                case "disable_by_batch_size": limit = Integer(key, value); break;
                case "prompt_lookup_min": least = Integer(key, value); break;
                case "prompt_lookup_max": most = Integer(key, value); break;
                default: throw Wrong($"has no key '{key}': there are method, num_speculative_tokens, model, prompt_lookup_min, prompt_lookup_max and disable_by_batch_size");
            }
        }
        SpeculationMethod kind = (method ?? (model is null ? "mtp" : "draft_model")) switch
        {
            "mtp" or "deepseek_mtp" => SpeculationMethod.DraftModule,
            "ngram" => SpeculationMethod.PromptLookup,
            "draft_model" => SpeculationMethod.DraftModel,
            _ => throw Wrong($"has an unknown method '{method}': there are mtp (deepseek_mtp), ngram and draft_model"),
        };
        if (kind == SpeculationMethod.DraftModel && model is null)
            throw Wrong("names no model for draft_model");
        SpeculationOptions defaults = new();
        SpeculationOptions options = new()
        {
            Method = kind,
            Tokens = tokens ?? (kind == SpeculationMethod.DraftModule ? 1 : 3),
            DisableBySequences = limit,
            LookupLeast = least ?? Math.Min(defaults.LookupLeast, most ?? int.MaxValue),
            LookupMost = most ?? Math.Max(defaults.LookupMost, least ?? 0),
        };
        return new SpeculativeConfig(options, kind == SpeculationMethod.DraftModel ? model : null);
    }

    private static string Text(string key, JsonNode? value) =>
        value is JsonValue leaf && leaf.TryGetValue(out string? text) ? text : throw Wrong($"has a {key} that is no string");

    private static int Integer(string key, JsonNode? value) =>
        value is JsonValue leaf && leaf.TryGetValue(out int number) ? number : throw Wrong($"has a {key} that is no integer");

    private static ArgumentException Wrong(string what) => new($"--speculative-config {what}.");
}
