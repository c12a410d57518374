using Orleans.Runtime;

namespace XDeepServe.Server.Control.Executor;

/// <summary>Holds this process's Task Executor, if it has one: the model is loaded while the silo starts.</summary>
internal sealed class ExecutorSlot
{
    private volatile TaskExecutor? _executor;

    /// <summary>From here the Task Executor's grain answers.</summary>
    public void Fill(TaskExecutor executor) => _executor = executor;

    /// <summary>From here it does not any more.</summary>
    public void Empty() => _executor = null;

    /// <summary>The Task Executor of an id.</summary>
    /// <exception cref="SiloUnavailableException">It is not here.</exception>
    public TaskExecutor Find(string id) => _executor is { } executor && executor.Info.Id == id
        ? executor
        : throw new SiloUnavailableException($"Task Executor {id} is not in this process.");
}
