using XDeepServe.FlowServe;

namespace XDeepServe.Server.Control.Messages;

/// <summary>What is read behind a prompt, as it travels.</summary>
[GenerateSerializer]
internal struct ReadoutSurrogate
{
    [Id(0)] public int[]? LabelIds;
    [Id(1)] public bool IsHidden;
    [Id(2)] public bool IsMean;
}

/// <summary>Turns readouts into what travels, and back.</summary>
[RegisterConverter]
internal sealed class ReadoutConverter : IConverter<Readout, ReadoutSurrogate>
{
    public Readout ConvertFromSurrogate(in ReadoutSurrogate surrogate) => surrogate switch
    {
        { LabelIds: { } ids } => Readout.Labels(ids),
        { IsMean: true } => Readout.MeanHidden,
        { IsHidden: true } => Readout.LastHidden,
        _ => Readout.Scores,
    };

    public ReadoutSurrogate ConvertToSurrogate(in Readout value) => new() { LabelIds = value.LabelIds is { } ids ? [.. ids] : null, IsHidden = value.IsHidden, IsMean = value.IsMean };
}
