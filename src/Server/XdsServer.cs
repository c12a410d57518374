using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using XDeepServe.FlowServe;
using XDeepServe.Server.Http;
using XDeepServe.Server.Metrics;
using XDeepServe.Server.Routes;

namespace XDeepServe.Server;

/// <summary>
/// The HTTP server: listens at once, answers requests once a model is attached, and lets running ones finish when it stops.
/// It reads neither environment nor configuration files; everything stands in <see cref="ServerOptions"/>.
/// </summary>
public sealed class XdsServer : IAsyncDisposable
{
    // An aborted request ends within a step; this is time for its answer to go out.
    private static readonly TimeSpan s_lastWait = TimeSpan.FromSeconds(5);
    private readonly WebApplication _app;
    private readonly ServerState _state;
    private readonly ThroughputLog _throughput;
    private readonly ILogger _log;

    private XdsServer(WebApplication app, ServerState state, ILogger log)
    {
        _app = app;
        _state = state;
        _log = log;
        _throughput = new ThroughputLog(state, log);
    }

    /// <summary>Address to reach the server at, such as <c>http://127.0.0.1:8000</c>; known once it has started.</summary>
    public Uri Url => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    /// <summary>Makes a server that does not listen yet.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="logging">Adds log providers; without any the server is silent.</param>
    /// <exception cref="ArgumentException">The settings name no model or an address that is none.</exception>
    public static XdsServer Build(ServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        if (options.ServedModelNames.Count == 0)
        {
            throw new ArgumentException("Name the served model.", nameof(options));
        }
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "XDeepServe" });
        builder.Services.AddRoutingCore();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(5));
        logging?.Invoke(builder.Logging);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => Configure(kestrel, options));
        WebApplication app = builder.Build();
        ILogger log = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("XDeepServe.Server");
        ServerState state = new(options, TimeProvider.System);
        ErrorGate errors = new(state, log);
        app.Use(errors.InvokeAsync);
        app.UseRouting();
        Map(app, state, errors, log);
        return new XdsServer(app, state, log);
    }

    /// <summary>Starts to listen. Until <see cref="Attach"/>, <c>/ready</c> and everything that needs the model answers 503.</summary>
    /// <exception cref="IOException">The port is taken.</exception>
    public async Task StartAsync(CancellationToken cancel = default)
    {
        await _app.StartAsync(cancel);
        _throughput.Start();
    }

    /// <summary>From here requests are answered. The model stays the caller's, who disposes it after <see cref="StopAsync"/>.</summary>
    public void Attach(ServedModel model) => _state.Attach(model);

    /// <summary>
    /// Refuses new requests, waits up to <see cref="ServerOptions.DrainTimeout"/> for running ones, aborts what is left, and
    /// stops listening.
    /// </summary>
    /// <param name="hurry">Cancelled to abort running requests at once.</param>
    public async Task StopAsync(CancellationToken hurry = default)
    {
        _state.StartDraining();
        _throughput.Stop();
        if (_state.Model is { } model)
        {
            await DrainAsync(model.Served.Engine, hurry);
        }
        await _app.StopAsync(CancellationToken.None);
    }

    /// <summary>Listens, loads the model, serves until <paramref name="stop"/>, then drains.</summary>
    /// <param name="load">Loads the model while the server already answers probes.</param>
    /// <param name="stop">Cancelled to shut down.</param>
    /// <param name="hurry">Cancelled to end a shutdown without waiting for running requests.</param>
    public async Task RunAsync(Func<CancellationToken, Task<ServedModel>> load, CancellationToken stop, CancellationToken hurry = default)
    {
        await StartAsync(stop);
        try
        {
            Attach(await load(stop));
            _log.LogInformation("Serving {Model} at {Url}", _state.Options.ServedModelNames[0], Url);
            TaskCompletionSource stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
            await using (stop.Register(stopped.SetResult))
            {
                await stopped.Task;
            }
        }
        finally
        {
            await StopAsync(hurry);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _throughput.DisposeAsync();
        await _app.DisposeAsync();
    }

    // Requests that outlast the patience end with an error that says so.
    private async Task DrainAsync(IEngine engine, CancellationToken hurry)
    {
        if (engine.Unfinished > 0)
        {
            _log.LogInformation("Shutting down: waiting up to {Seconds:0} s for {Count} requests.", _state.Options.DrainTimeout.TotalSeconds, engine.Unfinished);
        }
        bool drained;
        try
        {
            drained = await engine.DrainAsync(_state.Options.DrainTimeout).WaitAsync(hurry);
        }
        catch (OperationCanceledException) when (hurry.IsCancellationRequested)
        {
            drained = false;
        }
        if (!drained)
        {
            await _state.Hurry.CancelAsync();
            await engine.DrainAsync(s_lastWait);
        }
    }

    private static void Map(IEndpointRouteBuilder routes, ServerState state, ErrorGate errors, ILogger log)
    {
        new GenerateRoutes(state, errors, log).Map(routes);
        new TokenRoutes(state).Map(routes);
        new ReadingRoutes(state).Map(routes);
        new ScoreRoutes(state).Map(routes);
        new ModelRoutes(state).Map(routes);
        new StateRoutes(state).Map(routes);
        new ScaleRoutes(state).Map(routes);
        PageRoutes.Map(routes);
    }

    private static void Configure(KestrelServerOptions kestrel, ServerOptions options)
    {
        kestrel.AddServerHeader = false;
        // The body's limit is kept by its reader, which can still answer; Kestrel would cut the connection.
        kestrel.Limits.MaxRequestBodySize = null;
        if (options.Host == "localhost")
        {
            kestrel.ListenLocalhost(options.Port, listen => listen.Use(RefusalBody.Wrap));
        }
        else if (IPAddress.TryParse(options.Host, out IPAddress? address))
        {
            kestrel.Listen(address, options.Port, listen => listen.Use(RefusalBody.Wrap));
        }
        else
        {
            throw new ArgumentException($"'{options.Host}' is not an IP address or 'localhost'.", nameof(options));
        }
    }
}
