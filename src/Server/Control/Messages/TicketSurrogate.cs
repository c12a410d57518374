using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.Server.Control.Messages;

/// <summary>The name of keys and values held elsewhere, as it travels.</summary>
[GenerateSerializer]
internal struct TicketSurrogate
{
    [Id(0)] public string Owner;
    [Id(1)] public int Group;
    [Id(2)] public long Number;
    [Id(3)] public int Positions;
}

/// <summary>Turns tickets into what travels, and back.</summary>
[RegisterConverter]
internal sealed class TicketConverter : IConverter<KvTicket, TicketSurrogate>
{
    public KvTicket ConvertFromSurrogate(in TicketSurrogate surrogate) => new(surrogate.Owner, surrogate.Group, surrogate.Number, surrogate.Positions);

    public TicketSurrogate ConvertToSurrogate(in KvTicket value) => new() { Owner = value.Owner, Group = value.Group, Number = value.Number, Positions = value.Positions };
}
