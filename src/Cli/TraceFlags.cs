using System.CommandLine;
using XDeepServe.Server.Tracing;

namespace XDeepServe.Cli;

/// <summary>Where the spans of requests go.</summary>
internal sealed class TraceFlags
{
    private readonly Option<string?> endpoint = new("--otlp-traces-endpoint") { Description = "Collector that takes OpenTelemetry's traces, such as http://127.0.0.1:4317 (default: the environment variable OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT; none: no traces)." };
    private readonly Option<string> protocol = EngineFlags.Choice("--otlp-traces-protocol", "How the collector is spoken to.", "grpc", "grpc", "http/protobuf");

    /// <summary>Adds the flags to a command.</summary>
    public TraceFlags(Command command)
    {
        command.Options.Add(endpoint);
        command.Options.Add(protocol);
    }

    /// <summary>Flags that hand what was given down to a worker.</summary>
    public IEnumerable<string> ForWorkers(ParseResult result) => GivenFlags.Of(result, [endpoint, protocol]);

    /// <summary>Starts to send spans, if somebody takes them.</summary>
    /// <param name="result">The command line.</param>
    /// <param name="process">Names this process.</param>
    public TraceExport? Start(ParseResult result, string process)
    {
        string? given = result.GetValue(endpoint) ?? Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ?? Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT");
        if (string.IsNullOrEmpty(given))
            return null;
        return Uri.TryCreate(given, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https"
            ? TraceExport.Start(uri, result.GetValue(protocol) == "http/protobuf", process)
            : throw new ArgumentException($"--otlp-traces-endpoint must be a URL such as http://127.0.0.1:4317, not '{given}'.");
    }
}
