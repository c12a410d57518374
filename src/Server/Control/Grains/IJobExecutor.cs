using Orleans.Concurrency;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Grains;

/// <summary>What is to be placed.</summary>
/// <param name="Role">What is to be done.</param>
/// <param name="Tokens">Tokens of prompt and answer so far.</param>
/// <param name="Chain">Names of the prompt's beginnings.</param>
/// <param name="Avoid">Task Executors that refused or lost it just now.</param>
[GenerateSerializer, Immutable]
internal sealed record PlacementRequest([property: Id(0)] WorkerRole Role, [property: Id(1)] int Tokens, [property: Id(2)] ulong[] Chain, [property: Id(3)] string[] Avoid);

/// <summary>Picks Task Executors for a job's tasks (paper §4.1, steps 1 and 4). Stateless: any number, each beside its front end.</summary>
[Alias("xds.IJobExecutor")]
internal interface IJobExecutor : IGrainWithIntegerKey
{
    /// <summary>Picks one.</summary>
    /// <returns>Its id; null if none can take the task now.</returns>
    Task<string?> Place(PlacementRequest request);
}
