using System.Text.Json;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Responses;

/// <summary>Token counts of one answer, over all its prompts and choices.</summary>
internal sealed class Usage(int prompts, int choices)
{
    private readonly int[] _prompt = new int[prompts];
    private readonly int[] _cached = new int[prompts];
    private readonly int[] _completion = new int[prompts * choices];

    /// <summary>Takes over the counts of a delta.</summary>
    /// <param name="prompt">Index of the prompt.</param>
    /// <param name="delta">The delta.</param>
    public void Add(int prompt, OutputDelta delta)
    {
        _prompt[prompt] = delta.PromptTokens;
        _cached[prompt] = Math.Max(_cached[prompt], delta.CachedTokens);
        _completion[(prompt * choices) + delta.Choice] = delta.CompletionTokens;
    }

    /// <summary>Writes the sum of everything.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="countCompletion">False where the new tokens are not part of the answer.</param>
    public void Write(Utf8JsonWriter json, bool countCompletion = true) =>
        Write(json, _prompt.Sum(), countCompletion ? _completion.Sum() : 0, _cached.Sum());

    /// <summary>Writes the counts of one choice so far.</summary>
    public static void Write(Utf8JsonWriter json, OutputDelta delta) =>
        Write(json, delta.PromptTokens, delta.CompletionTokens, delta.CachedTokens);

    private static void Write(Utf8JsonWriter json, int prompt, int completion, int cached)
    {
        json.WriteStartObject("usage"u8);
        json.WriteNumber("prompt_tokens"u8, prompt);
        json.WriteNumber("total_tokens"u8, prompt + completion);
        json.WriteNumber("completion_tokens"u8, completion);
        json.WriteStartObject("prompt_tokens_details"u8);
        json.WriteNumber("cached_tokens"u8, cached);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
