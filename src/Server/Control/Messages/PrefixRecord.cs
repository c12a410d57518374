namespace XDeepServe.Server.Control.Messages;

/// <summary>Which beginnings of prompts a Task Executor's caches hold.</summary>
/// <param name="Version">Counts changes: equal numbers, equal content.</param>
/// <param name="Names">See <see cref="FlowServe.Balancing.PrefixSummary"/>.</param>
[GenerateSerializer, Immutable]
internal sealed record PrefixRecord([property: Id(0)] long Version, [property: Id(1)] uint[] Names);
