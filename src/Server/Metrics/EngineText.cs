using System.Globalization;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Metrics;

/// <summary>The engine's metrics under the names, labels and buckets that vLLM's dashboards read; one sample for each DP group.</summary>
internal sealed class EngineText(PrometheusText text, string prefix, string modelName, params (string, string)[] place)
{
    private static readonly (string Cause, StepCause Value)[] Causes =
    [
        ("gc", StepCause.Collection), ("transfer", StepCause.Transfer), ("preemption", StepCause.Preemption),
        ("prefill", StepCause.Prefill), ("unknown", StepCause.Unknown),
    ];

    /// <summary>Writes all families of an engine.</summary>
    public void Write(IEngine engine)
    {
        IReadOnlyList<EngineMetrics> groups = engine.Metrics;
        Each("num_requests_running", "gauge", "Number of requests in model execution batches.", groups, group => group.Running);
        Each("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", groups, group => group.Waiting);
        Each("num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.", groups, group => group.Waiting, ("reason", "capacity"));
        Each("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", groups, group => group.CacheUsage);
        Own("requests_arriving", "gauge", "Requests whose keys and values are on their way.", groups, group => group.Arriving);
        Own("requests_held", "gauge", "Requests that went on elsewhere and whose cache is still held.", groups, group => group.Held);
        Own("dispatch_rows_total", "counter", "Rows sent to experts on other ranks, once for each expert.", groups, group => group.DispatchedRows);
        Own("requests_handed_over_total", "counter", "Requests that went on elsewhere.", groups, group => group.HandOvers);
        Each("engine_sleep_state", "gauge", "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake.", groups, _ => 1, ("sleep_state", "awake"));
        Each(
            "cache_config_info", "gauge", "Information of the LLMEngine CacheConfig.", groups, _ => 1,
            ("block_size", engine.Options.BlockSize.ToString(CultureInfo.InvariantCulture)),
            ("enable_prefix_caching", engine.Options.PrefixCaching ? "True" : "False"),
            ("num_gpu_blocks", engine.CacheBlocks.ToString(CultureInfo.InvariantCulture)));

        Each("prompt_tokens_total", "counter", "Number of prefill tokens processed.", groups, group => group.PromptTokens);
        Each("generation_tokens_total", "counter", "Number of generation tokens processed.", groups, group => group.GenerationTokens);
        Head("prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.");
        Samples("prompt_tokens_by_source_total", groups, group => Math.Max(0, group.PromptTokens - group.PrefixHits - (group.Tiers?.HostHits ?? 0) - (group.Tiers?.DiskHits ?? 0)), ("source", "local_compute"));
        Samples("prompt_tokens_by_source_total", groups, group => group.PrefixHits, ("source", "local_cache_hit"));
        Tiers(groups);
        Each("prefix_cache_queries_total", "counter", "Prefix cache queries, in terms of number of queried tokens.", groups, group => group.PrefixQueries);
        Each("prefix_cache_hits_total", "counter", "Prefix cache hits, in terms of number of cached tokens.", groups, group => group.PrefixHits);
        Each("num_preemptions_total", "counter", "Cumulative number of preemption from the engine.", groups, group => group.Preemptions);
        Proposals(groups);
        Head("request_success_total", "counter", "Count of successfully processed requests.");
        for (int number = 0; number < groups.Count; number++)
        {
            foreach ((string reason, long count) in groups[number].Finished)
            {
                text.Sample(prefix + "request_success_total", [.. Labels(number), ("finished_reason", reason)], count);
            }
        }
        text.Single(prefix + "admission_rejections_total", "counter", "Requests refused because too many were waiting.", Labels(0), engine.Rejections);

        text.Head("xds:step_outliers_total", "counter", "Steps longer than three times the running median, by cause.");
        foreach ((string cause, StepCause value) in Causes)
        {
            for (int number = 0; number < groups.Count; number++)
            {
                text.Sample("xds:step_outliers_total", [.. Labels(number), ("cause", cause)], groups[number].Outliers(value));
            }
        }
        text.Head("xds:step_median_seconds", "gauge", "Running median of a step's time.");
        for (int number = 0; number < groups.Count; number++)
        {
            text.Sample("xds:step_median_seconds", Labels(number), groups[number].MedianStep);
        }

        if (groups.Count > 0 && groups[0].Mixture is { Speaks: true } mixture)
        {
            MixtureText.Write(text, mixture);
        }
        for (int place = 0; groups.Count > 0 && place < groups[0].Histograms.Count; place++)
        {
            Histogram first = groups[0].Histograms[place];
            Head(first.Name, "histogram", first.Help);
            for (int number = 0; number < groups.Count; number++)
            {
                Histogram histogram = groups[number].Histograms[place];
                text.Histogram(prefix + histogram.Name, Labels(number), histogram.Bounds, histogram.Counts(), histogram.Sum);
            }
        }
    }

    /// <summary>Host memory and disk behind the device's cache, where there are any. The family of prompt tokens by source is open.</summary>
    private void Tiers(IReadOnlyList<EngineMetrics> groups)
    {
        if (groups.Count == 0 || groups[0].Tiers is null)
        {
            return;
        }
        Samples("prompt_tokens_by_source_total", groups, group => group.Tiers!.HostHits, ("source", "host_cache_hit"));
        Samples("prompt_tokens_by_source_total", groups, group => group.Tiers!.DiskHits, ("source", "disk_cache_hit"));
        Head("kv_offload_total_bytes_total", "counter", "Bytes of KV cache blocks moved between tiers.");
        Samples("kv_offload_total_bytes_total", groups, group => group.Tiers!.SavedBytes, ("transfer_type", "GPU_to_CPU"));
        Samples("kv_offload_total_bytes_total", groups, group => group.Tiers!.LoadedBytes, ("transfer_type", "CPU_to_GPU"));
        Samples("kv_offload_total_bytes_total", groups, group => group.Tiers!.WrittenBytes, ("transfer_type", "CPU_to_disk"));
        Samples("kv_offload_total_bytes_total", groups, group => group.Tiers!.ReadBytes, ("transfer_type", "disk_to_CPU"));
        Own("kv_host_usage_ratio", "gauge", "Share of host memory for cache blocks that holds some.", groups, group => group.Tiers!.HostUsage);
        Own("kv_disk_usage_ratio", "gauge", "Share of the disk cache's bytes in use.", groups, group => group.Tiers!.DiskUsage);
        Own("kv_tier_dropped_blocks_total", "counter", "Cache blocks lost on their way to a slower tier.", groups, group => group.Tiers!.Dropped);
        Own("kv_tier_declined_total", "counter", "Times that computing again was predicted to be faster than loading.", groups, group => group.Tiers!.Declined);
        Own("kv_tier_failed_loads_total", "counter", "Loads that brought less than was asked.", groups, group => group.Tiers!.Failed);
    }

    /// <summary>Speculative decoding, where it is on.</summary>
    private void Proposals(IReadOnlyList<EngineMetrics> groups)
    {
        if (groups.Count == 0 || groups[0].Speculation is not { } first)
        {
            return;
        }
        Each("spec_decode_num_drafts_total", "counter", "Number of spec decoding drafts.", groups, group => group.Speculation!.Drafts);
        Each("spec_decode_num_draft_tokens_total", "counter", "Number of draft tokens.", groups, group => group.Speculation!.DraftTokens);
        Each("spec_decode_num_accepted_tokens_total", "counter", "Number of accepted tokens.", groups, group => group.Speculation!.AcceptedTokens);
        Head("spec_decode_num_accepted_tokens_per_pos_total", "counter", "Accepted tokens per draft position.");
        for (int position = 0; position < first.AcceptedByPlace.Count; position++)
        {
            int place = position;
            Samples("spec_decode_num_accepted_tokens_per_pos_total", groups, group => group.Speculation!.AcceptedByPlace[place], ("position", place.ToString(CultureInfo.InvariantCulture)));
        }
    }

    private (string, string)[] Labels(int group) => [("engine", group.ToString(CultureInfo.InvariantCulture)), ("model_name", modelName), .. place];

    // What vLLM has no name for.
    private void Own(string name, string type, string help, IReadOnlyList<EngineMetrics> groups, Func<EngineMetrics, double> value)
    {
        text.Head("xds:" + name, type, help);
        for (int number = 0; number < groups.Count; number++)
        {
            text.Sample("xds:" + name, Labels(number), value(groups[number]));
        }
    }

    private void Head(string name, string type, string help) => text.Head(prefix + name, type, help);

    private void Each(string name, string type, string help, IReadOnlyList<EngineMetrics> groups, Func<EngineMetrics, double> value, params (string, string)[] more)
    {
        Head(name, type, help);
        Samples(name, groups, value, more);
    }

    private void Samples(string name, IReadOnlyList<EngineMetrics> groups, Func<EngineMetrics, double> value, params (string, string)[] more)
    {
        for (int number = 0; number < groups.Count; number++)
        {
            text.Sample(prefix + name, [.. Labels(number), .. more], value(groups[number]));
        }
    }
}
