using System.Globalization;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Metrics;

/// <summary>Metrics that only workers of a service have: who they are, and what they moved between them.</summary>
internal static class WorkerText
{
    /// <summary>Writes the families of a front end.</summary>
    public static void Write(PrometheusText text, string worker, string prefix, string modelName, ClusterEngine engine)
    {
        const string Role = "frontend";
        WriteInfo(text, Role, Environment.ProcessId, worker, System.Net.Dns.GetHostName());
        (string, string)[] labels = [("worker", worker), ("role", Role)];
        text.Single(prefix + "admission_rejections_total", "counter", "Requests refused because too many were waiting.", [("engine", "0"), ("model_name", modelName), .. labels], engine.Rejections);
        ProcessText.Write(text, labels);
        text.Single("xds:requests_unfinished", "gauge", "Requests that have not ended.", labels, engine.Unfinished);
        text.Single("xds:retries_total", "counter", "Choices that were begun again because their worker had gone.", labels, engine.Retries);
    }

    /// <summary>Writes the families of a Task Executor.</summary>
    public static void Write(PrometheusText text, ExecutorInfo info, TransferMetrics transfers)
    {
        string role = info.Role.ToString().ToLowerInvariant();
        (string, string)[] labels = [("worker", info.Name), ("role", role)];
        WriteInfo(text, role, info.Pid, info.Name, info.Host);
        ProcessText.Write(text, labels);
        text.Head("xds:kv_transfer_bytes_total", "counter", "Bytes of keys and values moved between workers.");
        text.Sample("xds:kv_transfer_bytes_total", [.. labels, ("direction", "sent")], transfers.SentBytes);
        text.Sample("xds:kv_transfer_bytes_total", [.. labels, ("direction", "received")], transfers.ReceivedBytes);
        text.Single("xds:kv_transfers_total", "counter", "Pulls that brought what was asked for.", labels, transfers.Transfers);
        text.Single("xds:kv_transfer_failures_total", "counter", "Pulls that did not; their positions were computed again.", labels, transfers.Failures);
        text.Single("xds:kv_transfers_under_way", "gauge", "Pulls that have begun or wait.", labels, transfers.UnderWay);
        Histogram seconds = transfers.Seconds;
        text.Head("xds:" + seconds.Name, "histogram", seconds.Help);
        text.Histogram("xds:" + seconds.Name, labels, seconds.Bounds, seconds.Counts(), seconds.Sum);
    }

    private static void WriteInfo(PrometheusText text, string role, int pid, string worker, string host) => text.Single(
        "xds:worker_info", "gauge", "A worker of the service.",
        [("role", role), ("pid", pid.ToString(CultureInfo.InvariantCulture)), ("worker", worker), ("host", host)], 1);
}
