using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Control.Messages;

/// <summary>What prefill costs, as it travels.</summary>
[GenerateSerializer]
internal struct CostSurrogate
{
    [Id(0)] public double Step;
    [Id(1)] public double Token;
    [Id(2)] public double Pair;
}

/// <summary>Turns costs into what travels, and back.</summary>
[RegisterConverter]
internal sealed class CostConverter : IConverter<PrefillCost, CostSurrogate>
{
    public PrefillCost ConvertFromSurrogate(in CostSurrogate surrogate) => new(surrogate.Step, surrogate.Token, surrogate.Pair);

    public CostSurrogate ConvertToSurrogate(in PrefillCost value) => new() { Step = value.Step, Token = value.Token, Pair = value.Pair };
}
