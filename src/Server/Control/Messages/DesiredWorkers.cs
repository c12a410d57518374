using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Messages;

/// <summary>How many workers each role is to have.</summary>
/// <param name="Version">Counts changes.</param>
/// <param name="Roles">Those whose number can change while they serve.</param>
[GenerateSerializer, Immutable]
public sealed record DesiredWorkers([property: Id(0)] long Version, [property: Id(1)] IReadOnlyDictionary<WorkerRole, int> Roles);
