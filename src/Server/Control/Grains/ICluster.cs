using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>Who belongs to the service (paper §7, the cluster manager). Key 0. Holds soft state: whoever is in it says so again.</summary>
[Alias("xds.ICluster")]
internal interface ICluster : IGrainWithIntegerKey
{
    /// <summary>A Task Executor is ready for requests. May be said again.</summary>
    Task Join(ExecutorInfo info);

    /// <summary>A Task Executor has gone, or is about to.</summary>
    Task Leave(string id, string reason);

    /// <summary>A front end wants to know of changes; must be said again every few seconds.</summary>
    /// <returns>All Task Executors.</returns>
    Task<ClusterUpdate> Watch(IFrontEnd frontEnd, string frontEndId);

    /// <summary>A front end has gone.</summary>
    Task Unwatch(string frontEndId);
}
