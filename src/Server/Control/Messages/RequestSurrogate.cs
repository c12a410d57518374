using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Models.Images;

namespace XDeepServe.Server.Control.Messages;

/// <summary>A request as it travels.</summary>
[GenerateSerializer]
internal struct RequestSurrogate
{
    [Id(0)] public string Id;
    [Id(1)] public int[] Prompt;
    [Id(2)] public PromptImage[] Images;
    [Id(3)] public SamplingParameters Sampling;
    [Id(4)] public Readout? Readout;
    [Id(5)] public string? CacheSalt;
    [Id(6)] public int Priority;
    [Id(7)] public int[] Produced;
    [Id(8)] public ulong? Stream;
    [Id(9)] public int? HandOverAfter;
    [Id(10)] public KvTicket? Ticket;
    [Id(11)] public string? TraceParent;
}

/// <summary>Turns requests into what travels, and back.</summary>
[RegisterConverter]
internal sealed class RequestConverter : IConverter<GenerationRequest, RequestSurrogate>
{
    public GenerationRequest ConvertFromSurrogate(in RequestSurrogate surrogate) => new()
    {
        Id = surrogate.Id,
        Prompt = surrogate.Prompt,
        Images = surrogate.Images,
        Sampling = surrogate.Sampling,
        Readout = surrogate.Readout,
        CacheSalt = surrogate.CacheSalt,
        Priority = surrogate.Priority,
        Produced = surrogate.Produced,
        Stream = surrogate.Stream,
        HandOverAfter = surrogate.HandOverAfter,
        Ticket = surrogate.Ticket,
        TraceParent = surrogate.TraceParent,
    };

    public RequestSurrogate ConvertToSurrogate(in GenerationRequest value) => new()
    {
        Id = value.Id,
        Prompt = value.Prompt,
        Images = [.. value.Images],
        Sampling = value.Sampling,
        Readout = value.Readout,
        CacheSalt = value.CacheSalt,
        Priority = value.Priority,
        Produced = value.Produced,
        Stream = value.Stream,
        HandOverAfter = value.HandOverAfter,
        Ticket = value.Ticket,
        TraceParent = value.TraceParent,
    };
}
