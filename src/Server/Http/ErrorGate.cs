using System.Diagnostics;
using System.Globalization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using XDeepServe.FlowServe;
using XDeepServe.Models.Text;
using XDeepServe.Server.Metrics;
using XDeepServe.Server.Responses;
using XDeepServe.Server.Tracing;

namespace XDeepServe.Server.Http;

/// <summary>The outermost step of every request: gives it an id, asks for the key, turns failures into error bodies, counts it.</summary>
internal sealed class ErrorGate(ServerState state, ILogger log)
{
    // The status proxies log for a client that left before its answer.
    private const int ClientClosed = 499;
    private readonly KeyGate _keys = new(state.Options.ApiKeys);

    /// <summary>Runs the rest of the pipeline.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        long start = state.Clock.GetTimestamp();
        RequestIdentity.Assign(context);
        Activity? span = HttpTrace.Begin(context);
        try
        {
            _keys.Check(context);
            await next(context);
            if (context.Response.StatusCode >= 400 && !context.Response.HasStarted)
            {
                await AnswerAsync(context, ErrorBody.Of(context.Response.StatusCode));
            }
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client is gone: whatever failed on the way out has no one to go to.
            MarkClosed(context);
        }
        catch (Exception failure) when (!context.Response.HasStarted)
        {
            await AnswerAsync(context, Describe(context, failure));
        }
        catch (Exception failure)
        {
            // Part of the answer is out; ending the connection early is the only honest signal left.
            log.LogError(failure, "{Id}: the answer broke off.", context.TraceIdentifier);
            context.Abort();
        }
        finally
        {
            HttpTrace.End(span, context);
            state.Http.Count(RouteName(context), context.Request.Method, context.Response.StatusCode, state.Clock.GetElapsedTime(start));
            log.LogDebug("{Method} {Path} {Status}", context.Request.Method, context.Request.Path, context.Response.StatusCode);
        }
    }

    /// <summary>The error body for a failure; one that is not the client's is logged and described in general words only.</summary>
    public ErrorBody Describe(HttpContext context, Exception failure)
    {
        switch (failure)
        {
            case ApiException refusal:
                SetRetryAfter(context, refusal.RetryAfter);
                return ErrorBody.Of(refusal);
            case InvalidRequestException invalid:
                return new ErrorBody(400, invalid.Message, invalid.Param);
            case QueueFullException full:
                SetRetryAfter(context, full.RetryAfter);
                return new ErrorBody(429, full.Message);
            case TemplateException template:
                return new ErrorBody(400, $"The chat template does not take these messages: {template.Message}", "messages");
            case OperationCanceledException when state.Hurry.IsCancellationRequested:
                return new ErrorBody(503, "The server shut down before the answer was complete.");
            case BadHttpRequestException { StatusCode: StatusCodes.Status408RequestTimeout }:
                return ErrorBody.Of(StatusCodes.Status408RequestTimeout);
            case BadHttpRequestException http:
                return new ErrorBody(http.StatusCode, http.Message);
            case NotFiniteNumberException:
                log.LogError(failure, "{Id}: the request failed.", context.TraceIdentifier);
                return new ErrorBody(500, failure.Message);
            default:
                log.LogError(failure, "{Id}: the request failed.", context.TraceIdentifier);
                return new ErrorBody(500, $"The server failed to answer; its log has the cause under the id {context.TraceIdentifier}.");
        }
    }

    private static async Task AnswerAsync(HttpContext context, ErrorBody body)
    {
        // Headers such as WWW-Authenticate, Allow and Retry-After stay.
        await JsonAnswer.SendAsync(context, body.Status, body.Write);
    }

    private static void MarkClosed(HttpContext context)
    {
        if (!context.Response.HasStarted)
        {
            context.Response.StatusCode = ClientClosed;
        }
    }

    private static void SetRetryAfter(HttpContext context, TimeSpan? after)
    {
        if (after is { } wait && !context.Response.HasStarted)
        {
            int seconds = Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds));
            context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        }
    }

    // Paths nobody serves share one label, so that a scanner cannot grow the metrics without bound.
    private static string RouteName(HttpContext context) =>
        (context.GetEndpoint() as Microsoft.AspNetCore.Routing.RouteEndpoint)?.RoutePattern.RawText ?? "none";
}
