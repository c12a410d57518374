namespace XDeepServe.FlowServe;

/// <summary>How tokens are chosen and when a text ends. Names and defaults follow vLLM's.</summary>
public sealed record SamplingParameters
{
    /// <summary>Most stop strings or stop ids of a request.</summary>
    public const int MaxStops = 64;

    /// <summary>Most entries of <see cref="LogitBias"/>.</summary>
    public const int MaxBiases = 1024;

    /// <summary>Most characters of a stop string.</summary>
    public const int MaxStopLength = 1024;

    /// <summary>Most choices of a request.</summary>
    public const int MaxChoices = 64;

    /// <summary>Most tokens to generate; null for as many as the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Tokens before which neither the end of text nor a stop id is chosen.</summary>
    public int MinTokens { get; init; }

    /// <summary>Divides the logits; 0 always takes the best token.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Tokens to choose from; 0 or -1 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Share of probability to choose from.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Least probability, as a share of the best token's.</summary>
    public double MinP { get; init; }

    /// <summary>Divides (or multiplies, if negative) the logits of tokens in prompt and output.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Taken from the logits of tokens in the output.</summary>
    public double PresencePenalty { get; init; }

    /// <summary>Taken from the logits of tokens in the output, once for every time they are there.</summary>
    public double FrequencyPenalty { get; init; }

    /// <summary>Added to the logits of some ids.</summary>
    public IReadOnlyList<(int Id, float Bias)> LogitBias { get; init; } = [];

    /// <summary>Names the random stream; null for one of the engine's own.</summary>
    public long? Seed { get; init; }

    /// <summary>Choices for the one prompt.</summary>
    public int N { get; init; } = 1;

    /// <summary>Strings that end the text.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Ids that end the text.</summary>
    public IReadOnlyList<int> StopTokenIds { get; init; } = [];

    /// <summary>Go on behind the model's own end of text.</summary>
    public bool IgnoreEos { get; init; }

    /// <summary>Leave the stop string or stop token in the text.</summary>
    public bool IncludeStop { get; init; }

    /// <summary>Log-probabilities of the best tokens beside each generated one's; null for none at all.</summary>
    public int? Logprobs { get; init; }

    /// <summary>The same for the prompt's tokens.</summary>
    public int? PromptLogprobs { get; init; }

    /// <summary>Leave special tokens out of the text.</summary>
    public bool SkipSpecialTokens { get; init; } = true;

    /// <summary>Make text; false for ids only.</summary>
    public bool Detokenize { get; init; } = true;

    /// <summary>Checks every value.</summary>
    /// <param name="vocabulary">Number of token ids.</param>
    /// <param name="maxLogprobs">Most log-probabilities per token.</param>
    /// <exception cref="InvalidRequestException">A value is out of its range; names it as vLLM does.</exception>
    public void Validate(int vocabulary, int maxLogprobs)
    {
        Require(MaxTokens is null or >= 1, "max_tokens", $"must be at least 1, got {MaxTokens}");
        Require(MinTokens >= 0, "min_tokens", $"must be at least 0, got {MinTokens}");
        Require(MaxTokens is null || MinTokens <= MaxTokens, "min_tokens", $"must be at most max_tokens = {MaxTokens}, got {MinTokens}");
        Require(Temperature is >= 0 and <= 100, "temperature", $"must be between 0 and 100, got {Temperature}");
        Require(TopK >= -1, "top_k", $"must be -1 or 0 (all) or at least 1, got {TopK}");
        Require(TopP is > 0 and <= 1, "top_p", $"must be above 0 and at most 1, got {TopP}");
        Require(MinP is >= 0 and <= 1, "min_p", $"must be between 0 and 1, got {MinP}");
        Require(RepetitionPenalty is > 0 and <= 100, "repetition_penalty", $"must be above 0 and at most 100, got {RepetitionPenalty}");
        Require(PresencePenalty is >= -2 and <= 2, "presence_penalty", $"must be between -2 and 2, got {PresencePenalty}");
        Require(FrequencyPenalty is >= -2 and <= 2, "frequency_penalty", $"must be between -2 and 2, got {FrequencyPenalty}");
        Require(N is >= 1 and <= MaxChoices, "n", $"must be between 1 and {MaxChoices}, got {N}");
        Require(Logprobs is null || (Logprobs >= 0 && Logprobs <= maxLogprobs), "logprobs", $"must be between 0 and {maxLogprobs}, got {Logprobs}");
        Require(PromptLogprobs is null || (PromptLogprobs >= 0 && PromptLogprobs <= maxLogprobs), "prompt_logprobs", $"must be between 0 and {maxLogprobs}, got {PromptLogprobs}");
        Require(LogitBias.Count <= MaxBiases, "logit_bias", $"may have at most {MaxBiases} entries, got {LogitBias.Count}");
        foreach ((int id, float bias) in LogitBias)
        {
            Require((uint)id < (uint)vocabulary, "logit_bias", $"names token {id}; the vocabulary has {vocabulary}");
            Require(bias is >= -100 and <= 100, "logit_bias", $"must be between -100 and 100, got {bias} for token {id}");
        }
        Require(Stop.Count <= MaxStops, "stop", $"may have at most {MaxStops} strings, got {Stop.Count}");
        foreach (string stop in Stop)
            Require(stop.Length is >= 1 and <= MaxStopLength, "stop", $"strings must have 1 to {MaxStopLength} characters, got one of {stop.Length}");
        Require(Detokenize || Stop.Count == 0, "stop", "strings need text; use stop_token_ids where the tokenizer is not loaded");
        Require(StopTokenIds.Count <= MaxStops, "stop_token_ids", $"may have at most {MaxStops} ids, got {StopTokenIds.Count}");
        foreach (int id in StopTokenIds)
            Require((uint)id < (uint)vocabulary, "stop_token_ids", $"names token {id}; the vocabulary has {vocabulary}");
    }

    private static void Require(bool holds, string name, FormattableString complaint)
    {
        if (!holds)
            throw new InvalidRequestException($"{name} {FormattableString.Invariant(complaint)}.", name);
    }

    private static void Require(bool holds, string name, string complaint)
    {
        if (!holds)
            throw new InvalidRequestException($"{name} {complaint}.", name);
    }
}
