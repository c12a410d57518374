using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.Server.Control.Messages;

/// <summary>How a Task Executor fares.</summary>
[GenerateSerializer, Immutable]
internal sealed record ExecutorReport
{
    /// <summary>Requests that have not ended.</summary>
    [Id(0)] public int Requests { get; init; }

    /// <summary>Of these, those that wait.</summary>
    [Id(1)] public int Waiting { get; init; }

    /// <summary>Share of the cache in use, 0 to 1, the mean of the DP groups.</summary>
    [Id(2)] public double KvUsage { get; init; }

    /// <summary>Milliseconds since all DP groups' loops have last answered; 0 if they do now (paper §6.1).</summary>
    [Id(3)] public int Silence { get; init; }

    /// <summary>Requests that run.</summary>
    [Id(5)] public int Running { get; init; }

    /// <summary>Prompt tokens computed or found in the cache.</summary>
    [Id(6)] public long PromptTokens { get; init; }

    /// <summary>Tokens generated.</summary>
    [Id(7)] public long GenerationTokens { get; init; }

    /// <summary>Prompt tokens looked up in the prefix cache.</summary>
    [Id(8)] public long PrefixQueries { get; init; }

    /// <summary>Prompt tokens found there.</summary>
    [Id(9)] public long PrefixHits { get; init; }

    /// <summary>Tokens proposed.</summary>
    [Id(18)] public long DraftTokens { get; init; }

    /// <summary>Of these, those that were accepted.</summary>
    [Id(19)] public long AcceptedTokens { get; init; }

    /// <summary>Share of each DP group's cache in use, 0 to 1.</summary>
    [Id(10)] public double[] GroupUsage { get; init; } = [];

    /// <summary>Pulls of keys and values that it made.</summary>
    [Id(11)] public long Transfers { get; init; }

    /// <summary>Bytes that it pulled and that were pulled from it.</summary>
    [Id(12)] public long TransferBytes { get; init; }

    /// <summary>Whether it takes no new requests, because it is about to end.</summary>
    [Id(4)] public bool Draining { get; init; }

    /// <summary>Share of the cache that its requests need, the reserve for expected output included.</summary>
    [Id(13)] public double KvExpected { get; init; }

    /// <summary>Predicted seconds until its least busy DP group could begin a prompt.</summary>
    [Id(14)] public double Backlog { get; init; }

    /// <summary>What its prefill works on; None while some DP group is idle.</summary>
    [Id(15)] public PromptClass Class { get; init; }

    /// <summary>What prefill costs there, as it has measured.</summary>
    [Id(16)] public PrefillCost Cost { get; init; } = PrefillCostModel.Prior;

    /// <summary>Counts changes of what its caches hold; who wants to know asks it.</summary>
    [Id(17)] public long PrefixVersion { get; init; }

    /// <summary>Milliseconds that the request at the front of its queue has waited; 0 if none waits.</summary>
    [Id(20)] public double QueueTime { get; init; }

    /// <summary>Whether another report says the same.</summary>
    public bool Agrees(ExecutorReport other) => this with { GroupUsage = other.GroupUsage } == other && GroupUsage.AsSpan().SequenceEqual(other.GroupUsage);
}
