using System.Globalization;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Metrics;

/// <summary>The engine's metrics under the names, labels and buckets that vLLM's dashboards read.</summary>
internal sealed class EngineText(PrometheusText text, string prefix, string modelName)
{
    private readonly (string, string)[] _labels = [("engine", "0"), ("model_name", modelName)];

    /// <summary>Writes all families of an engine.</summary>
    public void Write(TeShell engine)
    {
        EngineMetrics metrics = engine.Metrics;
        Gauge("num_requests_running", "Number of requests in model execution batches.", metrics.Running);
        Gauge("num_requests_waiting", "Number of requests waiting to be processed.", metrics.Waiting);
        Head("num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.");
        Sample("num_requests_waiting_by_reason", "reason", "capacity", metrics.Waiting);
        Gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", metrics.CacheUsage);
        Gauge("engine_sleep_state", "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake.", [("sleep_state", "awake")], 1);
        CacheConfig(engine);

        Counter("prompt_tokens_total", "Number of prefill tokens processed.", metrics.PromptTokens);
        Counter("generation_tokens_total", "Number of generation tokens processed.", metrics.GenerationTokens);
        Head("prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.");
        Sample("prompt_tokens_by_source_total", "source", "local_compute", Math.Max(0, metrics.PromptTokens - metrics.PrefixHits));
        Sample("prompt_tokens_by_source_total", "source", "local_cache_hit", metrics.PrefixHits);
        Counter("prefix_cache_queries_total", "Prefix cache queries, in terms of number of queried tokens.", metrics.PrefixQueries);
        Counter("prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.", metrics.PrefixHits);
        Counter("num_preemptions_total", "Cumulative number of preemption from the engine.", metrics.Preemptions);
        Head("request_success_total", "counter", "Count of successfully processed requests.");
        foreach ((string reason, long count) in metrics.Finished)
        {
            Sample("request_success_total", "finished_reason", reason, count);
        }
        Counter("admission_rejections_total", "Requests refused because too many were waiting.", engine.Rejections);

        foreach (Histogram histogram in metrics.Histograms)
        {
            Head(histogram.Name, "histogram", histogram.Help);
            text.Histogram(prefix + histogram.Name, _labels, histogram.Bounds, histogram.Counts(), histogram.Sum);
        }
    }

    private void CacheConfig(TeShell engine) => Gauge(
        "cache_config_info",
        "Information of the LLMEngine CacheConfig.",
        [
            ("block_size", engine.Options.BlockSize.ToString(CultureInfo.InvariantCulture)),
            ("enable_prefix_caching", engine.Options.PrefixCaching ? "True" : "False"),
            ("num_gpu_blocks", engine.CacheBlocks.ToString(CultureInfo.InvariantCulture)),
        ],
        1);

    private void Gauge(string name, string help, double value) => text.Single(prefix + name, "gauge", help, _labels, value);

    private void Gauge(string name, string help, (string, string)[] more, double value) =>
        text.Single(prefix + name, "gauge", help, [.. _labels, .. more], value);

    private void Counter(string name, string help, double value) => text.Single(prefix + name, "counter", help, _labels, value);

    private void Head(string name, string type, string help) => text.Head(prefix + name, type, help);

    private void Sample(string name, string label, string value, double count) =>
        text.Sample(prefix + name, [.. _labels, (label, value)], count);
}
