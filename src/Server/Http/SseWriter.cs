using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace XDeepServe.Server.Http;

/// <summary>
/// Writes server-sent events: <c>data: {json}\n\n</c>, ended by <c>data: [DONE]</c>. Events go from the JSON writer straight
/// into the connection's buffer. One task at a time.
/// </summary>
internal sealed class SseWriter : IAsyncDisposable
{
    private readonly HttpResponse _response;
    private readonly PipeWriter _pipe;
    private readonly Utf8JsonWriter _json;
    private readonly CancellationToken _aborted;

    /// <summary>A writer for one response; headers go out with <see cref="StartAsync"/>.</summary>
    public SseWriter(HttpContext context)
    {
        _response = context.Response;
        _pipe = _response.BodyWriter;
        _json = new Utf8JsonWriter(_pipe, JsonAnswer.Options);
        _aborted = context.RequestAborted;
    }

    /// <summary>Sends the headers, so that the client knows its request was accepted.</summary>
    public async Task StartAsync()
    {
        _response.StatusCode = 200;
        _response.ContentType = "text/event-stream; charset=utf-8";
        _response.Headers.CacheControl = "no-cache";
        // Tells buffering proxies to pass each event on at once.
        _response.Headers["X-Accel-Buffering"] = "no";
        await _response.StartAsync(_aborted);
        await _pipe.FlushAsync(_aborted);
    }

    /// <summary>Opens an event; its JSON goes on the returned writer, then <see cref="End"/>.</summary>
    public Utf8JsonWriter Begin()
    {
        _pipe.Write("data: "u8);
        return _json;
    }

    /// <summary>Closes the event; <see cref="FlushAsync"/> sends it.</summary>
    public void End()
    {
        _json.Flush();
        _json.Reset();
        _pipe.Write("\n\n"u8);
    }

    /// <summary>Sends what was written; waits while the client reads too slowly.</summary>
    public async ValueTask FlushAsync() => await _pipe.FlushAsync(_aborted);

    /// <summary>Sends the event that ends every stream.</summary>
    public async Task DoneAsync()
    {
        _pipe.Write("data: [DONE]\n\n"u8);
        await _pipe.FlushAsync(_aborted);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _json.DisposeAsync();
}
