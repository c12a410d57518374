namespace XDeepServe.Models.Text.Splitting;

/// <summary>The splitting rules that have a name in GGUF files.</summary>
internal static class Rules
{
    private const string Chinese = "[一-龥\u3040-ゟ゠-ヿ]+";

    /// <summary>The patterns that a name stands for, one after another; null for an unknown name.</summary>
    public static string[]? Sources(string name) => name switch
    {
        "" or "gpt-2" => [Gpt2Words.Source],
        "llama-bpe" or "llama3" or "llama-v3" or "glm4" or "chatglm-bpe" => [ChatWords.Source3],
        "qwen2" or "deepseek-r1-qwen" => [ChatWords.Source1],
        "gpt-4o" or "llama4" => [CasedWords.Source],
        "kimi-k2" => [CasedWords.HanSource],
        "deepseek-v3" => [NumberRuns.Source, Chinese, DeepSeekWords.Source],
        _ => null,
    };

    /// <summary>The name of patterns, null if they have none.</summary>
    public static string? Name(IReadOnlyList<string> sources)
    {
        foreach (var name in (ReadOnlySpan<string>)["gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "gpt-4o", "kimi-k2"])
            if (Sources(name)!.SequenceEqual(sources))
                return name;
        return null;
    }
}
