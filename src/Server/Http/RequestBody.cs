using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace XDeepServe.Server.Http;

/// <summary>Reads a JSON object from a request and refuses what is not one.</summary>
internal static class RequestBody
{
    private static readonly JsonDocumentOptions s_options = new() { AllowDuplicateProperties = false, MaxDepth = 64 };

    /// <summary>The body as a JSON document; the caller disposes it.</summary>
    /// <exception cref="ApiException">415 for another media type, 413 for too many bytes, 400 for anything that is not a JSON object in UTF-8.</exception>
    public static async Task<JsonDocument> ReadAsync(HttpContext context, long limit)
    {
        RequireJson(context.Request);
        if (context.Request.ContentLength > limit)
        {
            throw TooLarge(limit);
        }
        PipeReader reader = context.Request.BodyReader;
        while (true)
        {
            ReadResult result = await reader.ReadAsync(context.RequestAborted);
            if (result.IsCompleted)
            {
                try
                {
                    return Parse(result.Buffer);
                }
                finally
                {
                    reader.AdvanceTo(result.Buffer.End);
                }
            }
            if (result.Buffer.Length > limit)
            {
                reader.AdvanceTo(result.Buffer.End);
                throw TooLarge(limit);
            }
            reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
        }
    }

    private static ApiException TooLarge(long limit) => new(413, $"The request body is larger than {limit} bytes.");

    private static void RequireJson(HttpRequest request)
    {
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out MediaTypeHeaderValue? type)
            || !(type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase)
                 || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase)))
        {
            throw new ApiException(415, "Send the body as JSON with the header 'Content-Type: application/json'.");
        }
        if (type.Charset.HasValue && !type.Charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase)
            && !type.Charset.Equals("utf8", StringComparison.OrdinalIgnoreCase))
        {
            throw new ApiException(415, "Send the body in UTF-8.");
        }
    }

    private static JsonDocument Parse(ReadOnlySequence<byte> body)
    {
        if (body.IsEmpty)
        {
            throw ApiException.BadRequest("The request body is empty; send a JSON object.");
        }
        // The document keeps the bytes, so they are copied out of the pipe's buffers.
        byte[] bytes = body.ToArray();
        if (!Utf8.IsValid(bytes))
        {
            throw ApiException.BadRequest("The request body is not valid UTF-8.");
        }
        RefuseHalfPairs(bytes);
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(bytes, s_options);
        }
        catch (JsonException broken)
        {
            throw Broken(broken);
        }
        if (document.RootElement.ValueKind != JsonValueKind.Object)
        {
            document.Dispose();
            throw ApiException.BadRequest("The request body must be a JSON object.");
        }
        return document;
    }

    // An escape such as \ud800 without its partner has no UTF-8 form: it would fail later, wherever the text is read.
    private static void RefuseHalfPairs(byte[] body)
    {
        if (body.AsSpan().IndexOf("\\u"u8) < 0)
        {
            return;
        }
        Utf8JsonReader reader = new(body, new JsonReaderOptions { MaxDepth = s_options.MaxDepth });
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped)
                {
                    reader.GetString();
                }
            }
        }
        catch (InvalidOperationException)
        {
            throw ApiException.BadRequest($"The text at byte {reader.TokenStartIndex} of the request body holds half of a surrogate pair, which is not valid text.");
        }
        catch (JsonException broken)
        {
            throw Broken(broken);
        }
    }

    private static ApiException Broken(JsonException broken) =>
        ApiException.BadRequest($"The request body is not valid JSON: {FirstSentence(broken.Message)}");

    // Line and position help the caller; they are kept, the path (which may quote content) is not.
    private static string FirstSentence(string message)
    {
        int path = message.IndexOf(" Path:", StringComparison.Ordinal);
        return path < 0 ? message : message[..path];
    }
}
