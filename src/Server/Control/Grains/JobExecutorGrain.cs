using Orleans.Concurrency;
using XDeepServe.Server.Control.Frontend;

namespace XDeepServe.Server.Control.Grains;

/// <summary>See <see cref="IJobExecutor"/>.</summary>
[StatelessWorker, Reentrant]
internal sealed class JobExecutorGrain(ClusterView view) : Grain, IJobExecutor
{
    public Task<string?> Place(PlacementRequest request) => Task.FromResult(view.Pick(request));
}
