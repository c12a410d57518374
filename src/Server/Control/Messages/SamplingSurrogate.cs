using XDeepServe.FlowServe;

namespace XDeepServe.Server.Control.Messages;

/// <summary>How a request is sampled, as it travels.</summary>
[GenerateSerializer]
internal struct SamplingSurrogate
{
    [Id(0)] public int? MaxTokens;
    [Id(1)] public int MinTokens;
    [Id(2)] public double Temperature;
    [Id(3)] public int TopK;
    [Id(4)] public double TopP;
    [Id(5)] public double MinP;
    [Id(6)] public double RepetitionPenalty;
    [Id(7)] public double PresencePenalty;
    [Id(8)] public double FrequencyPenalty;
    [Id(9)] public (int Id, float Bias)[] LogitBias;
    [Id(10)] public long? Seed;
    [Id(11)] public int N;
    [Id(12)] public string[] Stop;
    [Id(13)] public int[] StopTokenIds;
    [Id(14)] public bool IgnoreEos;
    [Id(15)] public bool IncludeStop;
    [Id(16)] public int? Logprobs;
    [Id(17)] public int? PromptLogprobs;
    [Id(18)] public bool SkipSpecialTokens;
    [Id(19)] public bool Detokenize;
}

/// <summary>Turns sampling parameters into what travels, and back.</summary>
[RegisterConverter]
internal sealed class SamplingConverter : IConverter<SamplingParameters, SamplingSurrogate>
{
    public SamplingParameters ConvertFromSurrogate(in SamplingSurrogate surrogate) => new()
    {
        MaxTokens = surrogate.MaxTokens,
        MinTokens = surrogate.MinTokens,
        Temperature = surrogate.Temperature,
        TopK = surrogate.TopK,
        TopP = surrogate.TopP,
        MinP = surrogate.MinP,
        RepetitionPenalty = surrogate.RepetitionPenalty,
        PresencePenalty = surrogate.PresencePenalty,
        FrequencyPenalty = surrogate.FrequencyPenalty,
        LogitBias = surrogate.LogitBias,
        Seed = surrogate.Seed,
        N = surrogate.N,
        Stop = surrogate.Stop,
        StopTokenIds = surrogate.StopTokenIds,
        IgnoreEos = surrogate.IgnoreEos,
        IncludeStop = surrogate.IncludeStop,
        Logprobs = surrogate.Logprobs,
        PromptLogprobs = surrogate.PromptLogprobs,
        SkipSpecialTokens = surrogate.SkipSpecialTokens,
        Detokenize = surrogate.Detokenize,
    };

    public SamplingSurrogate ConvertToSurrogate(in SamplingParameters value) => new()
    {
        MaxTokens = value.MaxTokens,
        MinTokens = value.MinTokens,
        Temperature = value.Temperature,
        TopK = value.TopK,
        TopP = value.TopP,
        MinP = value.MinP,
        RepetitionPenalty = value.RepetitionPenalty,
        PresencePenalty = value.PresencePenalty,
        FrequencyPenalty = value.FrequencyPenalty,
        LogitBias = [.. value.LogitBias],
        Seed = value.Seed,
        N = value.N,
        Stop = [.. value.Stop],
        StopTokenIds = [.. value.StopTokenIds],
        IgnoreEos = value.IgnoreEos,
        IncludeStop = value.IncludeStop,
        Logprobs = value.Logprobs,
        PromptLogprobs = value.PromptLogprobs,
        SkipSpecialTokens = value.SkipSpecialTokens,
        Detokenize = value.Detokenize,
    };
}
