namespace XDeepServe.Server;

/// <summary>Settings of the HTTP server, filled by the command line. Names and defaults follow <c>vllm serve</c>.</summary>
public sealed record ServerOptions
{
    /// <summary>Address to listen on: an IP address or <c>localhost</c>.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>TCP port; 0 lets the system choose one.</summary>
    public int Port { get; init; } = 8000;

    /// <summary>Keys of which one must come as a bearer token with every call but those of probes, scrapers and the page; empty: no key is asked for.</summary>
    public IReadOnlyList<string> ApiKeys { get; init; } = [];

    /// <summary>Names the model answers to; the first one stands in answers and metric labels.</summary>
    public IReadOnlyList<string> ServedModelNames { get; init; } = ["model"];

    /// <summary>The folder or file the model was loaded from, shown as <c>root</c> in <c>/v1/models</c>.</summary>
    public string? ModelRoot { get; init; }

    /// <summary>Source of a chat template to use in place of the model's own.</summary>
    public string? ChatTemplateOverride { get; init; }

    /// <summary>Largest request body in bytes; a larger one is answered with 413.</summary>
    public long MaxBodyBytes { get; init; } = 10_000_000;

    /// <summary>Folder whose images requests may name as <c>file://</c> URLs; null for none.</summary>
    public string? AllowedLocalMediaPath { get; init; }

    /// <summary>Most log-probabilities a request may ask for per position.</summary>
    public int MaxLogprobs { get; init; } = 20;

    /// <summary>Whether sampling defaults come from the model's <c>generation_config.json</c>.</summary>
    public bool UseGenerationConfig { get; init; } = true;

    /// <summary>How long a shutdown waits for running requests before it aborts them.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Time between two lines of the throughput log.</summary>
    public TimeSpan StatisticsInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Metric names carry this prefix; <c>vllm:</c> keeps existing dashboards working.</summary>
    public string MetricPrefix { get; init; } = "vllm:";
}
