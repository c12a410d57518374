namespace XDeepServe.FlowServe.DistFlow;

/// <summary>
/// Names keys and values that another Task Executor holds: metadata alone, whoever decodes pulls the bytes when it has room for
/// them (paper §4.1, steps 3 to 7).
/// </summary>
/// <param name="Owner">The Task Executor that holds them.</param>
/// <param name="Group">Its DP group.</param>
/// <param name="Number">The hold's number there.</param>
/// <param name="Positions">Positions, from the first on.</param>
public sealed record KvTicket(string Owner, int Group, long Number, int Positions);
