using System.Text.Json;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Metrics;

/// <summary>The live topology of a service, as its page shows it.</summary>
internal static class WorkerStatus
{
    /// <summary>Writes the field <c>desired</c> into an open object: workers that each role is to have, where a launcher sees to it.</summary>
    public static void Write(Utf8JsonWriter json, DesiredWorkers? desired)
    {
        json.WriteStartObject("desired"u8);
        foreach ((WorkerRole role, int workers) in desired?.Roles ?? new Dictionary<WorkerRole, int>())
        {
            json.WriteNumber(role.ToString().ToLowerInvariant(), workers);
        }
        json.WriteEndObject();
    }

    /// <summary>Writes the field <c>workers</c> into an open object: one entry for each Task Executor.</summary>
    public static void Write(Utf8JsonWriter json, ClusterEngine service)
    {
        json.WriteStartArray("workers"u8);
        foreach (SeenExecutor seen in service.View.Executors)
        {
            ExecutorReport report = seen.Report;
            json.WriteStartObject();
            json.WriteString("name"u8, seen.Info.Name);
            json.WriteString("role"u8, seen.Info.Role.ToString().ToLowerInvariant());
            json.WriteNumber("pid"u8, seen.Info.Pid);
            json.WriteString("host"u8, seen.Info.Host);
            json.WriteBoolean("draining"u8, report.Draining);
            json.WriteNumber("silence_ms"u8, report.Silence);
            json.WriteNumber("requests_running"u8, report.Running);
            json.WriteNumber("requests_waiting"u8, report.Waiting);
            json.WriteNumber("kv_transfers"u8, report.Transfers);
            json.WriteNumber("kv_transfer_bytes"u8, report.TransferBytes);
            json.WriteStartArray("groups"u8);
            foreach (double usage in report.GroupUsage)
            {
                json.WriteNumberValue(usage);
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
