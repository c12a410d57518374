namespace XDeepServe.Server.Control.Messages;

/// <summary>A Task Executor of the service and how it fares.</summary>
[GenerateSerializer, Immutable]
internal sealed record Member([property: Id(0)] ExecutorInfo Info, [property: Id(1)] ExecutorReport Report);

/// <summary>A Task Executor that has gone.</summary>
/// <param name="Id">Which.</param>
/// <param name="Reason">Why.</param>
[GenerateSerializer, Immutable]
internal sealed record Departure([property: Id(0)] string Id, [property: Id(1)] string Reason);

/// <summary>What changed among the Task Executors of a service.</summary>
[GenerateSerializer, Immutable]
internal sealed record ClusterUpdate
{
    /// <summary>New ones, and those whose load changed.</summary>
    [Id(0)] public required Member[] Members { get; init; }

    /// <summary>Those that have gone.</summary>
    [Id(1)] public Departure[] Gone { get; init; } = [];

    /// <summary>Whether <see cref="Members"/> are all there are: who is not among them has gone.</summary>
    [Id(2)] public bool Complete { get; init; }
}
