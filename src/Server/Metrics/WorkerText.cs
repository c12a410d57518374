using System.Globalization;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control.Messages;

namespace XDeepServe.Server.Metrics;

/// <summary>Metrics that only workers of a service have: who they are, and what they moved between them.</summary>
internal static class WorkerText
{
    /// <summary>Writes the families of a Task Executor.</summary>
    public static void Write(PrometheusText text, ExecutorInfo info, TransferMetrics transfers)
    {
        string role = info.Role.ToString().ToLowerInvariant();
        (string, string)[] labels = [("worker", info.Name), ("role", role)];
        text.Single("xds:worker_info", "gauge", "A worker of the service.", [("role", role), ("pid", info.Pid.ToString(CultureInfo.InvariantCulture)), ("worker", info.Name), ("host", info.Host)], 1);
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
}
