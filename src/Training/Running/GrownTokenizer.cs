using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Training.Running;

/// <summary>A tokenizer with one more special token.</summary>
internal static class GrownTokenizer
{
    /// <summary>The file that holds a tokenizer.</summary>
    public const string Name = "tokenizer.json";

    /// <summary>Adds a special token behind the last one.</summary>
    /// <param name="folder">Holds tokenizer.json, and tokenizer_config.json where there is one.</param>
    /// <param name="tokenizer">The tokenizer as it is.</param>
    /// <param name="token">The token's text.</param>
    /// <returns>The tokenizer, and its tokenizer.json.</returns>
    /// <exception cref="TrainingException">There is no tokenizer.json to add it to.</exception>
    public static (Tokenizer Tokenizer, byte[] File) Of(string folder, Tokenizer tokenizer, string token)
    {
        string path = Path.Combine(folder, Name), settings = Path.Combine(folder, "tokenizer_config.json");
        if (!File.Exists(path))
            throw new TrainingException($"The model's tokenizer lacks the token {token}, and there is no {path} to add it to; put one there.");
        JsonObject whole = JsonNode.Parse(File.ReadAllBytes(path))!.AsObject();
        if (whole["added_tokens"] is not JsonArray added)
            whole["added_tokens"] = added = [];
        added.Add(new JsonObject
        {
            ["id"] = tokenizer.VocabularySize,
            ["content"] = token,
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = true,
        });
        using MemoryStream bytes = new();
        using (System.Text.Json.Utf8JsonWriter writer = new(bytes, new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            whole.WriteTo(writer);
        return (Tokenizer.FromJson(bytes.ToArray(), File.Exists(settings) ? File.ReadAllBytes(settings) : null), bytes.ToArray());
    }
}
