using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.Placement;

namespace XDeepServe.Server.Control.Grains;

/// <summary>
/// A grain that there is one of runs in the oldest process, as everyone can tell: on one machine that is the launcher, whose end
/// is the service's end. Its state is soft: while opinions differ there may be two.
/// </summary>
internal sealed class OldestSilo : PlacementStrategy
{
    /// <summary>Nothing is to be looked up.</summary>
    public override bool IsUsingGrainDirectory => false;
}

/// <summary>Marks such a grain.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class OldestSiloAttribute() : PlacementAttribute(new OldestSilo());

/// <summary>Finds the silo.</summary>
internal sealed class OldestSiloDirector : IPlacementDirector
{
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context) =>
        Task.FromResult(context.GetCompatibleSilos(target).MinBy(silo => (silo.Generation, silo.Endpoint.Port, silo.Endpoint.Address.ToString()))!);
}
