using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Messages;

/// <summary>What a Task Executor is: does not change while it lives.</summary>
[GenerateSerializer, Immutable]
internal sealed record ExecutorInfo
{
    /// <summary>Names this life of it: letters, digits and underscores, never used again. Ends in its silo's address, see <see cref="ExecutorId"/>.</summary>
    [Id(0)] public required string Id { get; init; }

    /// <summary>Its worker's name, which the next life has too.</summary>
    [Id(1)] public required string Name { get; init; }

    /// <summary>What it does.</summary>
    [Id(2)] public required WorkerRole Role { get; init; }

    /// <summary>Its process.</summary>
    [Id(3)] public required int Pid { get; init; }

    /// <summary>Its host's name.</summary>
    [Id(4)] public required string Host { get; init; }

    /// <summary>The model it runs; all of a service run the same.</summary>
    [Id(5)] public required string Model { get; init; }

    /// <summary>DP groups.</summary>
    [Id(6)] public required int Groups { get; init; }

    /// <summary>Most requests that it takes.</summary>
    [Id(7)] public required int RequestLimit { get; init; }

    /// <summary>Cache blocks of a DP group.</summary>
    [Id(8)] public required int CacheBlocks { get; init; }

    /// <summary>Positions in a cache block.</summary>
    [Id(9)] public required int BlockSize { get; init; }

    /// <summary>Most tokens of a prompt and its answer.</summary>
    [Id(10)] public required int MaxModelLength { get; init; }

    /// <summary>Most tokens of a step.</summary>
    [Id(11)] public required int MaxBatchedTokens { get; init; }

    /// <summary>Tokens to compute from which a prompt is long.</summary>
    [Id(12)] public required int LongPrompt { get; init; }
}
