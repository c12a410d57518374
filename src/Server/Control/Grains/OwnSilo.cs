using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.Placement;

namespace XDeepServe.Server.Control.Grains;

/// <summary>A grain that stands for something in a process runs in that process: its key says which.</summary>
internal sealed class OwnSilo : PlacementStrategy
{
    /// <summary>Everyone can tell from the key where it is.</summary>
    public override bool IsUsingGrainDirectory => false;
}

/// <summary>Marks such a grain.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class OwnSiloAttribute() : PlacementAttribute(new OwnSilo());

/// <summary>Finds the silo.</summary>
internal sealed class OwnSiloDirector : IPlacementDirector
{
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        SiloAddress silo = ExecutorId.SiloOf(target.GrainIdentity.Key.ToString()!);
        return context.GetCompatibleSilos(target).Contains(silo)
            ? Task.FromResult(silo)
            : throw new SiloUnavailableException($"The process of {target.GrainIdentity.Key} has gone.");
    }
}
