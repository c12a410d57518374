using XDeepServe.Server.Http;
using XDeepServe.Server.Metrics;
using XDeepServe.Server.Requests;

namespace XDeepServe.Server;

/// <summary>What every route sees: the settings, the model once it is there, and whether new requests are taken.</summary>
internal sealed class ServerState(ServerOptions options, TimeProvider clock)
{
    private volatile LoadedModel? _model;
    private volatile bool _draining;

    /// <summary>Settings of the server.</summary>
    public ServerOptions Options { get; } = options;

    /// <summary>Counts of HTTP requests.</summary>
    public HttpMetrics Http { get; } = new();

    /// <summary>Source of time.</summary>
    public TimeProvider Clock { get; } = clock;

    /// <summary>Seconds since 1970 at which the server started.</summary>
    public long Started { get; } = clock.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>The model, or null while it is loading.</summary>
    public LoadedModel? Model => _model;

    /// <summary>Whether the server is shutting down: running requests finish, new ones are refused.</summary>
    public bool Draining => _draining;

    /// <summary>Seconds since 1970.</summary>
    public long Now => Clock.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>From here requests are answered.</summary>
    public void Attach(ServedModel model) =>
        _model = new LoadedModel(model, SamplingDefaults.From(Options.UseGenerationConfig ? model.GenerationConfig : null));

    /// <summary>From here new requests are refused.</summary>
    public void StartDraining() => _draining = true;

    /// <summary>Cancelled when running requests are to end at once.</summary>
    public CancellationTokenSource Hurry { get; } = new();

    /// <summary>The model, if requests are taken.</summary>
    /// <exception cref="ApiException">503 while the model is loading or the server is shutting down.</exception>
    public LoadedModel Require()
    {
        if (_draining)
        {
            throw new ApiException(503, "The server is shutting down and takes no new requests.", null, TimeSpan.FromSeconds(5));
        }
        return _model ?? throw new ApiException(503, "The model is still loading; /ready answers 200 once it is there.", null, TimeSpan.FromSeconds(1));
    }

    /// <summary>Checks the name a request asks for; none at all means the model served here.</summary>
    /// <exception cref="ApiException">404 for a name this server does not answer to.</exception>
    public string ModelName(string? asked)
    {
        if (asked is null)
        {
            return Options.ServedModelNames[0];
        }
        return Options.ServedModelNames.Contains(asked, StringComparer.Ordinal) ? asked : throw ApiException.UnknownModel(asked);
    }
}

/// <summary>A served model and the sampling values a request starts from.</summary>
internal sealed record LoadedModel(ServedModel Served, SamplingDefaults Defaults);
