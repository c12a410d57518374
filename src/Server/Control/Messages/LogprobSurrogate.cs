using XDeepServe.FlowServe;

namespace XDeepServe.Server.Control.Messages;

/// <summary>A log-probability as it travels.</summary>
[GenerateSerializer]
internal struct LogprobSurrogate
{
    [Id(0)] public int Id;
    [Id(1)] public float Logprob;
    [Id(2)] public int Rank;
    [Id(3)] public (int Id, float Logprob)[] Top;
}

/// <summary>Turns log-probabilities into what travels, and back.</summary>
[RegisterConverter]
internal sealed class LogprobConverter : IConverter<TokenLogprob, LogprobSurrogate>
{
    public TokenLogprob ConvertFromSurrogate(in LogprobSurrogate surrogate) => new(surrogate.Id, surrogate.Logprob, surrogate.Rank, surrogate.Top);

    public LogprobSurrogate ConvertToSurrogate(in TokenLogprob value) => new() { Id = value.Id, Logprob = value.Logprob, Rank = value.Rank, Top = [.. value.Top] };
}
