using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Grains;

/// <summary>
/// The desired topology of the service's model: how many workers each role is to have. Autoscaling and people write it, the launcher does it. Key: as
/// <see cref="ICluster"/>. Holds soft state: the launcher, which knows the last of it, says it again.
/// </summary>
[Alias("xds.IModel")]
internal interface IModel : IGrainWithStringKey
{
    /// <summary>A launcher says every second what it knows to be desired.</summary>
    /// <returns>What is desired; null where another launcher has the service.</returns>
    Task<DesiredWorkers?> Meet(string launcher, DesiredWorkers known);

    /// <summary>What is desired; null where no launcher has the service.</summary>
    Task<DesiredWorkers?> Desired();

    /// <summary>Desires another number of workers of a role.</summary>
    /// <returns>What is desired from here on, unchanged where it has no such role; null where no launcher has the service.</returns>
    Task<DesiredWorkers?> Want(WorkerRole role, int workers);
}
