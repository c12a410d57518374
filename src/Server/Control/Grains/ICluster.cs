using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>Who belongs to the service (paper §7, the cluster manager). Key: an id that holds its silo, see <see cref="ClusterPlace"/>. Holds soft state: whoever is in it says so again.</summary>
[Alias("xds.ICluster")]
internal interface ICluster : IGrainWithStringKey
{
    /// <summary>A Task Executor is ready for requests. Must be said again every few seconds.</summary>
    Task Join(ExecutorInfo info);

    /// <summary>A Task Executor has gone, or is about to.</summary>
    Task Leave(string id, string reason);

    /// <summary>A front end wants to know of changes; must be said again every few seconds.</summary>
    /// <returns>All Task Executors.</returns>
    Task<ClusterUpdate> Watch(IFrontEnd frontEnd, string frontEndId);

    /// <summary>All Task Executors, those with the least to do first.</summary>
    Task<ExecutorInfo[]> Members();

    /// <summary>Decides whether a role needs a worker more or less, from what heart-beats told; what it decides <see cref="IModel"/> desires from here on.</summary>
    Task Scale(ScaleQuestion question);

    /// <summary>Of some workers the one with the least to do, and so the least to bring to an end; of equals the one that came last.</summary>
    /// <returns>Its name; null if none of them serves.</returns>
    Task<string?> Least(string[] workers);

    /// <summary>A front end has gone.</summary>
    Task Unwatch(string frontEndId);
}
