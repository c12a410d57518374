using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace XDeepServe.Server.Http;

/// <summary>Answers a request with one JSON document.</summary>
internal static class JsonAnswer
{
    /// <summary>How answers are written: text stays readable, since nothing here goes into HTML.</summary>
    public static JsonWriterOptions Options { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>Sends what <paramref name="write"/> puts on the writer.</summary>
    public static async Task SendAsync(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        ArrayBufferWriter<byte> body = new(512);
        await using (Utf8JsonWriter json = new(body, Options))
        {
            write(json);
        }
        HttpResponse response = context.Response;
        response.StatusCode = status;
        response.ContentType = "application/json";
        response.ContentLength = body.WrittenCount;
        if (!HttpMethods.IsHead(context.Request.Method))
        {
            await response.BodyWriter.WriteAsync(body.WrittenMemory, context.RequestAborted);
        }
    }
}
