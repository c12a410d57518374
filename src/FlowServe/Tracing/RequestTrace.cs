using System.Diagnostics;

namespace XDeepServe.FlowServe.Tracing;

/// <summary>
/// Spans of a request's way through an engine, children of the one whose W3C trace parent the request carries. They are made when a stage
/// is over, from time stamps that are taken anyway; without a listener nothing is done at all.
/// </summary>
public static class RequestTrace
{
    /// <summary>Name of the source, for listeners and exporters.</summary>
    public const string SourceName = "XDeepServe.FlowServe";

    private static readonly ActivitySource s_source = new(SourceName);

    /// <summary>A sequence has ended here, or goes on elsewhere: how it waited, read its prompt and wrote its answer.</summary>
    internal static void End(Sequence sequence, int group, string reason)
    {
        if (sequence.Request.TraceParent is null || !s_source.HasListeners())
            return;
        Submission submission = sequence.Submission!;
        long now = Stopwatch.GetTimestamp(), admitted = sequence.AdmittedAt != 0 ? sequence.AdmittedAt : now;
        bool continues = sequence.InitialLength > sequence.PromptLength;
        long first = submission.FirstTokenAt != 0 ? submission.FirstTokenAt : now;
        Emit(sequence.Request, "queue", sequence.ArrivedAt, admitted)?.Dispose();
        if (sequence.AdmittedAt == 0)
            return;
        using (Activity? prefill = continues ? null : Emit(sequence.Request, "prefill", admitted, first))
        {
            prefill?.SetTag("gen_ai.usage.input_tokens", sequence.PromptLength);
            prefill?.SetTag("gen_ai.usage.cache_read.input_tokens", Math.Max(0, sequence.CachedTokens));
            prefill?.SetTag("xds.dp_group", group);
        }
        if (reason == HandedOver || sequence.Request.Readout is not null)
            return;
        using Activity? decode = Emit(sequence.Request, "decode", continues ? admitted : first, now);
        decode?.SetTag("gen_ai.usage.output_tokens", sequence.Published);
        decode?.SetTag("gen_ai.response.finish_reasons", reason);
        decode?.SetTag("xds.dp_group", group);
    }

    /// <summary>Keys and values have come from another Task Executor, or have not.</summary>
    internal static void Transfer(GenerationRequest request, string owner, long askedAt, int positions, string status)
    {
        if (request.TraceParent is null || !s_source.HasListeners())
            return;
        using Activity? span = Emit(request, "kv_transfer", askedAt, Stopwatch.GetTimestamp());
        span?.SetTag("xds.kv.owner", owner);
        span?.SetTag("xds.kv.positions", positions);
        span?.SetTag("xds.kv.status", status);
    }

    /// <summary>The reason that ends a sequence's stay, though not its answer.</summary>
    internal const string HandedOver = "handed_over";

    private static Activity? Emit(GenerationRequest request, string name, long from, long to)
    {
        if (!ActivityContext.TryParse(request.TraceParent, null, isRemote: true, out ActivityContext parent))
            return null;
        DateTime now = DateTime.UtcNow;
        long clock = Stopwatch.GetTimestamp();
        Activity? span = s_source.StartActivity(name, ActivityKind.Internal, parent, startTime: now - Stopwatch.GetElapsedTime(from, clock));
        span?.SetTag("gen_ai.request.id", request.Id);
        return span?.SetEndTime(now - Stopwatch.GetElapsedTime(to, clock));
    }
}
