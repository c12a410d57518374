using System.Diagnostics;
using Microsoft.AspNetCore.Http;

namespace XDeepServe.Server.Tracing;

/// <summary>The span of an HTTP request: goes on with the client's W3C trace parent, and is the parent of what engines do for it.</summary>
internal static class HttpTrace
{
    /// <summary>Name of the source, for listeners and exporters.</summary>
    public const string SourceName = "XDeepServe.Server";

    private static readonly ActivitySource s_source = new(SourceName);

    /// <summary>Begins the span; null if nobody listens.</summary>
    public static Activity? Begin(HttpContext context)
    {
        if (!s_source.HasListeners())
        {
            return null;
        }
        ActivityContext.TryParse(context.Request.Headers.TraceParent, context.Request.Headers.TraceState, isRemote: true, out ActivityContext parent);
        Activity? span = s_source.StartActivity($"{context.Request.Method} {context.Request.Path}", ActivityKind.Server, parent);
        span?.SetTag("gen_ai.request.id", context.TraceIdentifier);
        return span;
    }

    /// <summary>Ends it.</summary>
    public static void End(Activity? span, HttpContext context)
    {
        span?.SetTag("http.response.status_code", context.Response.StatusCode);
        span?.Dispose();
    }
}
