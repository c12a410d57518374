namespace XDeepServe.FlowServe;

/// <summary>
/// Whatever answers requests: a Task Executor in this process (<see cref="TeShell"/>), or a service of many. Any thread.
/// </summary>
public interface IEngine
{
    /// <summary>Settings.</summary>
    EngineOptions Options { get; }

    /// <summary>What each DP group in this process has done.</summary>
    IReadOnlyList<EngineMetrics> Metrics { get; }

    /// <summary>Cache blocks of a DP group.</summary>
    int CacheBlocks { get; }

    /// <summary>Requests refused because too many waited.</summary>
    long Rejections { get; }

    /// <summary>Requests that have not ended.</summary>
    int Unfinished { get; }

    /// <summary>Takes a request in.</summary>
    /// <exception cref="InvalidRequestException">It can never be served as it is.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    Generation Submit(GenerationRequest request);

    /// <summary>Refuses new requests and waits for those that run.</summary>
    /// <param name="patience">Time after which what still runs is left to the engine's end, which aborts it.</param>
    /// <returns>Whether all requests ended.</returns>
    Task<bool> DrainAsync(TimeSpan patience);

    /// <summary>Forgets all cached prefixes.</summary>
    /// <returns>False, with nothing changed, while requests run.</returns>
    Task<bool> ResetPrefixCacheAsync();
}
