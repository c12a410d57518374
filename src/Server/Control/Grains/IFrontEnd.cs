using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>A front end as Task Executors and the cluster see it.</summary>
[Alias("xds.IFrontEnd")]
internal interface IFrontEnd : IGrainObserver
{
    /// <summary>Takes the output of a step. The sender waits for the answer before it sends more.</summary>
    Task Deliver(OutputBatch batch);

    /// <summary>Takes a change among the Task Executors.</summary>
    Task Update(ClusterUpdate update);
}
