namespace XDeepServe.FlowServe.DistFlow;

/// <summary>Keys and values of a prompt that are held for whoever goes on with it, until they are fetched, freed, or their lease ends.</summary>
/// <param name="Ticket">Names them.</param>
/// <param name="Blocks">Cache blocks there, in order of position.</param>
public sealed record KvOffer(KvTicket Ticket, IReadOnlyList<int> Blocks);
