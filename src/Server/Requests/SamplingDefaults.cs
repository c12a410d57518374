using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Server.Requests;

/// <summary>Sampling values for fields a request leaves out: the model's own where it names any, else neutral ones.</summary>
internal sealed record SamplingDefaults
{
    /// <summary>Divides the logits; 0 picks the best token.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Nucleus mass.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Candidates kept; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Least probability relative to the best token's.</summary>
    public double MinP { get; init; }

    /// <summary>Factor against tokens seen before.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Most new tokens; null for as many as fit.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Reads the values a <c>generation_config.json</c> sets; ones of a wrong type count as absent.</summary>
    public static SamplingDefaults From(JsonObject? config)
    {
        SamplingDefaults neutral = new();
        return config is null ? neutral : new SamplingDefaults
        {
            Temperature = Number(config, "temperature") ?? neutral.Temperature,
            TopP = Number(config, "top_p") ?? neutral.TopP,
            TopK = (int?)Number(config, "top_k") ?? neutral.TopK,
            MinP = Number(config, "min_p") ?? neutral.MinP,
            RepetitionPenalty = Number(config, "repetition_penalty") ?? neutral.RepetitionPenalty,
            MaxTokens = (int?)Number(config, "max_new_tokens"),
        };
    }

    private static double? Number(JsonObject config, string name) =>
        config[name] is JsonValue value && value.GetValueKind() == JsonValueKind.Number ? value.GetValue<double>() : null;
}
