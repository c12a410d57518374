using Orleans.Concurrency;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Control.Grains;

/// <summary>A Task Executor (paper §4.1) as others see it; runs in its process. Key: its id.</summary>
[Alias("xds.ITaskExecutor")]
internal interface ITaskExecutor : IGrainWithStringKey
{
    /// <summary>Takes a task in.</summary>
    /// <param name="task">The front end's number of it; unique within the front end.</param>
    /// <param name="request">What to do.</param>
    /// <param name="frontEnd">Where its output goes.</param>
    /// <param name="frontEndId">Names the front end.</param>
    [AlwaysInterleave]
    Task<Admission> Submit(long task, [Immutable] GenerationRequest request, IFrontEnd frontEnd, string frontEndId);

    /// <summary>Ends a task; nothing more comes from it.</summary>
    [AlwaysInterleave]
    Task Abort(long task, string frontEndId);

    /// <summary>Ends those of a front end's tasks that have not begun, with reason <c>withdrawn</c>: another takes them.</summary>
    [AlwaysInterleave]
    Task Withdraw([Immutable] long[] tasks, string frontEndId);

    /// <summary>Which of a front end's tasks it does not have: ended, lost or never come, with nothing on its way from them.</summary>
    [AlwaysInterleave]
    Task<long[]> Missing([Immutable] long[] tasks, string frontEndId);

    /// <summary>Frees what is held for a request that will not come for it.</summary>
    [AlwaysInterleave]
    Task Free(KvTicket ticket);

    /// <summary>Comes to a link over which another Task Executor will pull keys and values.</summary>
    [AlwaysInterleave]
    Task Link(string name);

    /// <summary>How it fares: answered through the loops of its DP groups.</summary>
    [AlwaysInterleave]
    Task<ExecutorReport> Report();

    /// <summary>Which beginnings of prompts its caches hold.</summary>
    [AlwaysInterleave]
    Task<PrefixRecord> Prefixes();

    /// <summary>Its metrics as text, in Prometheus' format.</summary>
    [AlwaysInterleave]
    Task<string> Metrics(string prefix, string modelName);

    /// <summary>Where the files of its model can be fetched; null if it is about to end.</summary>
    [AlwaysInterleave]
    Task<ModelOffer?> Offer();

    /// <summary>How its experts fare, as JSON; null if it shares none, or another tells it.</summary>
    [AlwaysInterleave]
    Task<string?> Experts();

    /// <summary>Forgets all cached prefixes.</summary>
    /// <returns>False, with nothing changed, while requests run.</returns>
    [AlwaysInterleave]
    Task<bool> ResetPrefixCache();

    /// <summary>Takes no new requests and ends those that run, then lets its process end.</summary>
    [AlwaysInterleave]
    Task Retire();
}
