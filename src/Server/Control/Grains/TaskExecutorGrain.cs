using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Executor;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>See <see cref="ITaskExecutor"/>: the way from other processes to this one's Task Executor.</summary>
[OwnSilo]
internal sealed class TaskExecutorGrain(ExecutorSlot slot) : Grain, ITaskExecutor
{
    public Task<Admission> Submit(long task, GenerationRequest request, IFrontEnd frontEnd, string frontEndId) =>
        Task.FromResult(Executor.Submit(task, request, frontEnd, frontEndId));

    public Task Abort(long task, string frontEndId)
    {
        Executor.Abort(task, frontEndId);
        return Task.CompletedTask;
    }

    public Task Withdraw(long[] tasks, string frontEndId)
    {
        Executor.Withdraw(tasks, frontEndId);
        return Task.CompletedTask;
    }

    public Task<long[]> Missing(long[] tasks, string frontEndId) => Task.FromResult(Executor.Missing(tasks, frontEndId));

    public Task Free(KvTicket ticket)
    {
        Executor.Free(ticket);
        return Task.CompletedTask;
    }

    public Task Link(string name)
    {
        Executor.Link(name);
        return Task.CompletedTask;
    }

    public Task<ExecutorReport> Report() => Executor.ReportAsync();

    public Task<PrefixRecord> Prefixes() => Task.FromResult(Executor.Prefixes);

    public Task<string> Metrics(string prefix, string modelName) => Task.FromResult(Executor.Metrics(prefix, modelName));

    public Task<ModelOffer?> Offer() => Executor.OfferAsync();

    public Task<string?> Experts() => Task.FromResult(Executor.Experts);

    public Task<bool> ResetPrefixCache() => Executor.ResetPrefixCacheAsync();

    public Task Retire()
    {
        Executor.Retire();
        return Task.CompletedTask;
    }

    private TaskExecutor Executor => slot.Find(this.GetPrimaryKeyString());
}
