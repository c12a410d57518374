namespace XDeepServe.Models.Loading;

/// <summary>Files that lie beside a model's weights in its folder: tokenizer, generation settings, image preprocessing.</summary>
public static class CompanionFiles
{
    private const string Generation = "generation_config.json";

    private static readonly string[] Others =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
        "tokenizer.model", "tiktoken.model", "vocab.json", "merges.txt", "preprocessor_config.json",
    ];

    /// <summary>Copies those that are there.</summary>
    /// <returns>Whether there was any besides generation settings.</returns>
    public static bool Copy(string source, string target)
    {
        foreach (string name in Others.Prepend(Generation))
            if (File.Exists(Path.Combine(source, name)))
                File.Copy(Path.Combine(source, name), Path.Combine(target, name));
        return Others.Any(name => File.Exists(Path.Combine(target, name)));
    }
}
