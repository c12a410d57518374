using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Models.Images;

namespace XDeepServe.FlowServe;

/// <summary>A prompt to continue.</summary>
public sealed record GenerationRequest
{
    /// <summary>Unique name, for logs.</summary>
    public required string Id { get; init; }

    /// <summary>Token ids of the prompt; at least one.</summary>
    public required int[] Prompt { get; init; }

    /// <summary>Images in the prompt, in order of position.</summary>
    public IReadOnlyList<PromptImage> Images { get; init; } = [];

    /// <summary>How to continue it.</summary>
    public required SamplingParameters Sampling { get; init; }

    /// <summary>What is read behind the prompt in place of generated tokens; null to generate.</summary>
    public Readout? Readout { get; init; }

    /// <summary>Requests share cached prefixes only within one salt.</summary>
    public string? CacheSalt { get; init; }

    /// <summary>W3C trace parent: spans of the request's way become its children. Null for none.</summary>
    public string? TraceParent { get; init; }

    /// <summary>Lower goes first; equals go in order of arrival.</summary>
    public int Priority { get; init; }

    /// <summary>Tokens that were generated before, elsewhere: the answer goes on behind them. They count as the answer's, not as the prompt's, and are not put out again.</summary>
    public int[] Produced { get; init; } = [];

    /// <summary>Names the random stream, whatever seed and number of choices say; null to derive it from them. A request that goes on elsewhere keeps its stream.</summary>
    public ulong? Stream { get; init; }

    /// <summary>Names keys and values that another Task Executor holds for it; what cannot be fetched is computed.</summary>
    public KvTicket? Ticket { get; init; }

    /// <summary>Number of tokens after which the request is to go on elsewhere: its cache is then held (<see cref="IOutput.HandOver"/>). Null: it stays to its end.</summary>
    public int? HandOverAfter { get; init; }
}

/// <summary>A request that can never be served as it is: HTTP 400.</summary>
/// <param name="message">What is wrong and what to do.</param>
/// <param name="param">The field at fault, as vLLM names it.</param>
public sealed class InvalidRequestException(string message, string? param) : Exception(message)
{
    /// <summary>The field at fault.</summary>
    public string? Param { get; } = param;

    /// <summary>Whether the request is refused for its length alone.</summary>
    public bool TooLong { get; init; }
}

/// <summary>The queue holds as many requests as it may: try again later.</summary>
/// <param name="limit">Requests that may wait.</param>
/// <param name="retryAfter">When a retry is worth it.</param>
public sealed class QueueFullException(int limit, TimeSpan retryAfter)
    : Exception($"{limit} requests are waiting already, as many as may; try again in {retryAfter.TotalSeconds:F0} s.")
{
    /// <summary>When a retry is worth it.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;
}
