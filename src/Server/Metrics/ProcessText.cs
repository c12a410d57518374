using System.Globalization;

namespace XDeepServe.Server.Metrics;

/// <summary>What this process takes of its host, under the names that Prometheus' own clients use.</summary>
internal static class ProcessText
{
    /// <summary>Writes the families.</summary>
    /// <param name="text">Where to.</param>
    /// <param name="labels">Tell the process from others, where one page shows several.</param>
    public static void Write(PrometheusText text, params (string, string)[] labels)
    {
        text.Single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes, mapped weights and shared regions included.", labels, Environment.WorkingSet);
        text.Single("dotnet_total_memory_bytes", "gauge", "Total known allocated memory of the managed heap.", labels, GC.GetTotalMemory(forceFullCollection: false));
        text.Single("dotnet_gc_committed_bytes", "gauge", "Memory that the managed heap has of the system, at its last collection: what the process has besides is native.", labels, GC.GetGCMemoryInfo(GCKind.Any).TotalCommittedBytes);
        text.Head("dotnet_collection_count_total", "counter", "Garbage collections, those of higher generations included.");
        for (int generation = 0; generation <= GC.MaxGeneration; generation++)
            text.Sample("dotnet_collection_count_total", [.. labels, ("generation", generation.ToString(CultureInfo.InvariantCulture))], GC.CollectionCount(generation));
        text.Single("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", labels, Environment.CpuUsage.TotalTime.TotalSeconds);
    }
}
