using System.Buffers;
using System.IO.Pipelines;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace XDeepServe.Server.Http;

/// <summary>Writes server-sent events: <c>data: {json}\n\n</c>, each flushed, ended by <c>data: [DONE]</c>.</summary>
internal sealed class SseWriter : IDisposable
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
        _json = new Utf8JsonWriter(_pipe, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
        _aborted = context.RequestAborted;
    }

    /// <summary>Sends the headers, so that the client knows its request was accepted.</summary>
    public async Task StartAsync()
    {
        _response.StatusCode = 200;
        _response.ContentType = "text/event-stream; charset=utf-8";
        _response.Headers.CacheControl = "no-cache";
        _response.Headers["X-Accel-Buffering"] = "no";
        await _response.StartAsync(_aborted);
        await _pipe.FlushAsync(_aborted);
    }

    /// <summary>Puts one event in the buffer; <see cref="FlushAsync"/> sends it.</summary>
    public void Write<T>(T value, JsonTypeInfo<T> type)
    {
        _pipe.Write("data: "u8);
        JsonSerializer.Serialize(_json, value, type);
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
    public void Dispose() => _json.Dispose();
}
