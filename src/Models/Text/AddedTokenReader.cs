using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Text;

/// <summary>Reads the added tokens of a tokenizer.json and those that only its configuration names.</summary>
internal static class AddedTokenReader
{
    /// <summary>The added tokens; where two share an id, tokenizer.json decides.</summary>
    public static IEnumerable<AddedToken> Read(TokenizerFile file, TokenizerSettings settings)
    {
        var tokens = new SortedDictionary<int, AddedToken>();
        foreach (var token in Read(settings))
            tokens[token.Id] = token;
        if (file.Part("added_tokens") is { } list)
            foreach (var entry in list.EnumerateArray())
                tokens[entry.GetProperty("id").GetInt32()] = ReadToken(entry.GetProperty("id").GetInt32(), entry);
        return tokens.Values;
    }

    /// <summary>The added tokens that the configuration names.</summary>
    public static IEnumerable<AddedToken> Read(TokenizerSettings settings)
    {
        foreach (var (key, entry) in settings.AddedTokens ?? [])
            if (entry is JsonObject && int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out var id))
                yield return ReadToken(id, entry.Deserialize<JsonElement>());
    }

    private static AddedToken ReadToken(int id, JsonElement entry)
    {
        bool Flag(string name) => entry.TryGetProperty(name, out var flag) && flag.ValueKind == JsonValueKind.True;
        return new AddedToken(id, entry.GetProperty("content").GetString() ?? "", Flag("special"), Flag("normalized"),
            Flag("single_word"), Flag("lstrip"), Flag("rstrip"));
    }
}
