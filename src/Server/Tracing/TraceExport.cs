using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using XDeepServe.FlowServe.Tracing;

namespace XDeepServe.Server.Tracing;

/// <summary>Sends this process's spans to a collector that speaks OTLP.</summary>
public sealed class TraceExport : IDisposable
{
    private readonly TracerProvider _provider;

    private TraceExport(TracerProvider provider) => _provider = provider;

    /// <summary>Starts to send.</summary>
    /// <param name="endpoint">The collector, such as <c>http://127.0.0.1:4317</c>; over HTTP an address without a path means its <c>/v1/traces</c>.</param>
    /// <param name="overHttp">Whether it takes protobuf over HTTP (port 4318) in place of gRPC.</param>
    /// <param name="process">Names this process: frontend, or a worker's name.</param>
    public static TraceExport Start(Uri endpoint, bool overHttp, string process)
    {
        TracerProvider provider = Sdk.CreateTracerProviderBuilder()
            .SetResourceBuilder(ResourceBuilder.CreateEmpty().AddService("xdeepserve", serviceInstanceId: process))
            .AddSource(RequestTrace.SourceName, HttpTrace.SourceName)
            .AddOtlpExporter(options =>
            {
                options.Endpoint = overHttp && endpoint.AbsolutePath == "/" ? new Uri(endpoint, "v1/traces") : endpoint;
                options.Protocol = overHttp ? OtlpExportProtocol.HttpProtobuf : OtlpExportProtocol.Grpc;
            })
            .Build();
        return new TraceExport(provider);
    }

    /// <summary>Sends what is left and stops.</summary>
    public void Dispose() => _provider.Dispose();
}
