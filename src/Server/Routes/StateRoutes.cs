using System.Reflection;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Http;
using XDeepServe.Server.Metrics;

namespace XDeepServe.Server.Routes;

/// <summary>What probes, scrapers and the page ask: is it alive, is it ready, how loaded is it.</summary>
internal sealed class StateRoutes(ServerState state)
{
    private static readonly string[] s_read = [HttpMethods.Get, HttpMethods.Head];
    private static readonly string[] s_readOrPost = [HttpMethods.Get, HttpMethods.Head, HttpMethods.Post];

    /// <summary>Adds the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapMethods("/health", s_read, (RequestDelegate)(context => OkAsync(context)));
        routes.MapMethods("/ping", s_readOrPost, (RequestDelegate)(context => OkAsync(context)));
        routes.MapMethods("/ready", s_read, (RequestDelegate)ReadyAsync);
        routes.MapMethods("/version", s_read, (RequestDelegate)VersionAsync);
        routes.MapMethods("/load", s_read, (RequestDelegate)LoadAsync);
        routes.MapMethods("/status", s_read, (RequestDelegate)StatusAsync);
        routes.MapMethods("/experts", s_read, (RequestDelegate)ExpertsAsync);
        routes.MapMethods("/metrics", s_read, (RequestDelegate)MetricsAsync);
    }

    /// <summary>Version of the server, without build metadata.</summary>
    public static string Version =>
        (typeof(StateRoutes).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0").Split('+')[0];

    // Alive means that it answers at all; whether it can take requests is another question.
    private static Task OkAsync(HttpContext context) => JsonAnswer.SendAsync(context, 200, json =>
    {
        json.WriteStartObject();
        json.WriteString("status"u8, "ok"u8);
        json.WriteEndObject();
    });

    private Task ReadyAsync(HttpContext context)
    {
        state.Require();
        return OkAsync(context);
    }

    private static Task VersionAsync(HttpContext context) => JsonAnswer.SendAsync(context, 200, json =>
    {
        json.WriteStartObject();
        json.WriteString("version"u8, Version);
        json.WriteEndObject();
    });

    private Task LoadAsync(HttpContext context)
    {
        EngineLoad load = EngineLoad.Of(state.Model);
        return JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("server_load"u8, load.Running + load.Waiting);
            json.WriteEndObject();
        });
    }

    private async Task StatusAsync(HttpContext context)
    {
        EngineLoad load = EngineLoad.Of(state.Model);
        ClusterEngine? service = state.Model?.Served.Engine as ClusterEngine;
        DesiredWorkers? desired = service is null ? null : await service.DesiredAsync();
        await JsonAnswer.SendAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("state"u8, state.Draining ? "draining"u8 : state.Model is null ? "loading"u8 : "ready"u8);
            json.WriteString("model"u8, state.Options.ServedModelNames[0]);
            json.WriteString("version"u8, Version);
            json.WriteNumber("uptime_seconds"u8, state.Now - state.Started);
            WriteModel(json, state.Model);
            load.Write(json);
            if (service is not null)
            {
                WorkerStatus.Write(json, desired);
                WorkerStatus.Write(json, service);
            }
            json.WriteEndObject();
        });
    }

    private static void WriteModel(Utf8JsonWriter json, LoadedModel? model)
    {
        if (model is null)
        {
            return;
        }
        json.WriteNumber("max_model_len"u8, model.Served.MaxModelLength);
        json.WriteBoolean("chat"u8, model.Served.Template is not null);
        json.WriteStartObject("defaults"u8);
        json.WriteNumber("temperature"u8, model.Defaults.Temperature);
        json.WriteNumber("top_p"u8, model.Defaults.TopP);
        json.WriteNumber("top_k"u8, model.Defaults.TopK);
        json.WriteNumber("min_p"u8, model.Defaults.MinP);
        json.WriteNumber("repetition_penalty"u8, model.Defaults.RepetitionPenalty);
        json.WriteEndObject();
    }

    private async Task ExpertsAsync(HttpContext context)
    {
        string told = state.Model?.Served.Engine switch
        {
            ClusterEngine service => await service.ExpertsAsync(),
            { } engine => ExpertStatus.Of(engine) ?? ExpertStatus.Nothing,
            null => ExpertStatus.Nothing,
        };
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(told, context.RequestAborted);
    }

    private async Task MetricsAsync(HttpContext context)
    {
        PrometheusText text = new();
        string many = "";
        switch (state.Model?.Served.Engine)
        {
            case ClusterEngine service:
                many = await service.MetricsAsync(state.Options.MetricPrefix, state.Options.ServedModelNames[0]);
                break;
            case { } engine:
                new EngineText(text, state.Options.MetricPrefix, state.Options.ServedModelNames[0]).Write(engine);
                break;
        }
        if (many.Length == 0)
        {
            ProcessText.Write(text); // a service's members tell theirs themselves
        }
        state.Http.Write(text);
        byte[] body = Encoding.UTF8.GetBytes(many + text);
        context.Response.ContentType = PrometheusText.ContentType;
        context.Response.ContentLength = body.Length;
        if (!HttpMethods.IsHead(context.Request.Method))
        {
            await context.Response.BodyWriter.WriteAsync(body, context.RequestAborted);
        }
    }
}
