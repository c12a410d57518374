using System.Text.Json;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Responses;

/// <summary>Body of every answer outside 2xx: <c>{"error":{"message","type","param","code"}}</c>.</summary>
/// <param name="Status">HTTP status, also the body's <c>code</c>.</param>
/// <param name="Message">What went wrong and what to do.</param>
/// <param name="Param">The request field at fault, or null.</param>
internal readonly record struct ErrorBody(int Status, string Message, string? Param = null)
{
    /// <summary>The body of a failed request.</summary>
    public static ErrorBody Of(ApiException error) => new(error.Status, error.Message, error.Param);

    /// <summary>The body for an answer that carries nothing but a status.</summary>
    public static ErrorBody Of(int status) => new(status, status switch
    {
        400 => "The request is not valid HTTP.",
        404 => "There is nothing at this path.",
        405 => "This path does not take this method; the Allow header names those it takes.",
        408 => "The request came in too slowly.",
        413 => "The request is too large.",
        414 => "The request line is too long.",
        431 => "The request headers are too long.",
        505 => "This HTTP version is not supported.",
        _ => "The request failed.",
    });

    /// <summary>Writes the body.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteStartObject("error"u8);
        json.WriteString("message"u8, Message);
        json.WriteString("type"u8, TypeOf(Status));
        json.WriteString("param"u8, Param);
        json.WriteNumber("code"u8, Status);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static string TypeOf(int status) => status switch
    {
        401 => "AuthenticationError",
        404 => "NotFoundError",
        405 => "MethodNotAllowedError",
        408 => "RequestTimeoutError",
        413 or 414 or 431 => "RequestTooLargeError",
        415 => "UnsupportedMediaTypeError",
        429 => "RateLimitError",
        503 => "ServiceUnavailableError",
        505 => "BadRequestError",
        >= 500 => "InternalServerError",
        _ => "BadRequestError",
    };
}
