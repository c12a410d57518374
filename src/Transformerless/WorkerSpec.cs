namespace XDeepServe.Transformerless;

/// <summary>One worker process of a service.</summary>
public sealed record WorkerSpec
{
    /// <summary>Names it within the service, such as <c>prefill-0</c>.</summary>
    public required string Name { get; init; }

    /// <summary>What it does.</summary>
    public required WorkerRole Role { get; init; }

    /// <summary>DP groups.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Processor cores that it keeps to, rising; empty for any.</summary>
    public IReadOnlyList<int> Cores { get; init; } = [];

    /// <summary>What computes: cpu, cuda or cuda:N; null for what the service says.</summary>
    public string? Device { get; init; }

    /// <summary>Bytes for each DP group's key-value cache; null for what the service says.</summary>
    public long? Memory { get; init; }

    /// <summary>Positions in a cache block; null for what the service says. May differ between workers.</summary>
    public int? BlockSize { get; init; }

    /// <summary>Where a front end listens; 0 for any port, another one each time that it starts.</summary>
    public int Port { get; init; }
}
