using System.Text.Json;
using XDeepServe.Server.Control.Frontend;

namespace XDeepServe.Server.Metrics;

/// <summary>How busy the engine is.</summary>
internal readonly record struct EngineLoad(long Running, long Waiting, double KvUsage, long PromptTokens, long GenerationTokens, long PrefixQueries, long PrefixHits, long DraftTokens = 0, long AcceptedTokens = 0)
{
    /// <summary>The load of a model; nothing while there is none.</summary>
    public static EngineLoad Of(LoadedModel? model)
    {
        if (model?.Served.Engine is ClusterEngine { Reports: { Count: > 0 } reports })
        {
            return new EngineLoad(
                reports.Sum(report => report.Running), reports.Sum(report => report.Waiting), reports.Average(report => report.KvUsage),
                reports.Sum(report => report.PromptTokens), reports.Sum(report => report.GenerationTokens),
                reports.Sum(report => report.PrefixQueries), reports.Sum(report => report.PrefixHits),
                reports.Sum(report => report.DraftTokens), reports.Sum(report => report.AcceptedTokens));
        }
        if (model?.Served.Engine.Metrics is not { Count: > 0 } groups)
        {
            return default;
        }
        return new EngineLoad(
            groups.Sum(group => group.Running), groups.Sum(group => group.Waiting), groups.Average(group => group.CacheUsage),
            groups.Sum(group => group.PromptTokens), groups.Sum(group => group.GenerationTokens),
            groups.Sum(group => group.PrefixQueries), groups.Sum(group => group.PrefixHits),
            groups.Sum(group => group.Speculation?.DraftTokens ?? 0), groups.Sum(group => group.Speculation?.AcceptedTokens ?? 0));
    }

    /// <summary>Writes the fields into an open object.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteNumber("requests_running"u8, Running);
        json.WriteNumber("requests_waiting"u8, Waiting);
        json.WriteNumber("kv_cache_usage"u8, KvUsage);
        json.WriteNumber("prompt_tokens_total"u8, PromptTokens);
        json.WriteNumber("generation_tokens_total"u8, GenerationTokens);
        json.WriteNumber("prefix_cache_queries_total"u8, PrefixQueries);
        json.WriteNumber("prefix_cache_hits_total"u8, PrefixHits);
        json.WriteNumber("draft_tokens_total"u8, DraftTokens);
        json.WriteNumber("accepted_tokens_total"u8, AcceptedTokens);
    }
}
