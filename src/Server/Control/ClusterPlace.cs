using System.Net;
using Orleans.Runtime;
using XDeepServe.Server.Control.Grains;

namespace XDeepServe.Server.Control;

/// <summary>
/// Where the service's one cluster grain and one model grain are: at the process that holds membership, if one does, else in the oldest process. All
/// can tell without asking. Opinions may differ for a moment; since everyone says again that it is there, they meet again.
/// </summary>
internal sealed class ClusterPlace(ServiceOptions options, ILocalSiloDetails self, ISiloStatusOracle silos, IGrainFactory grains)
{
    /// <summary>The cluster grain.</summary>
    public ICluster Grain => grains.GetGrain<ICluster>(ExecutorId.Of("cluster", Pick()));

    /// <summary>The model grain.</summary>
    public IModel Model => grains.GetGrain<IModel>(ExecutorId.Of("model", Pick()));

    private SiloAddress Pick()
    {
        IEnumerable<SiloAddress> active = silos.GetApproximateSiloStatuses(onlyActive: true).Keys;
        IPEndPoint? holder = options.Redis is null ? options.Primary ?? self.SiloAddress.Endpoint : null;
        return active.OrderByDescending(silo => silo.Endpoint.Equals(holder))
            .ThenBy(silo => (silo.Generation, silo.Endpoint.Port, silo.Endpoint.Address.ToString()))
            .FirstOrDefault(self.SiloAddress);
    }
}
