using XDeepServe.Server.Http;

namespace XDeepServe.Server.Responses;

/// <summary>Body of every answer outside 2xx.</summary>
internal sealed record ErrorBody(ErrorDetail Error)
{
    /// <summary>The body of a failed request.</summary>
    public static ErrorBody Of(ApiException error) => Of(error.Status, error.Message, error.Param);

    /// <summary>The body for a status.</summary>
    public static ErrorBody Of(int status, string message, string? param = null) =>
        new(new ErrorDetail(message, TypeOf(status), param, status));

    private static string TypeOf(int status) => status switch
    {
        401 => "AuthenticationError",
        404 => "NotFoundError",
        405 => "MethodNotAllowedError",
        408 => "RequestTimeoutError",
        413 => "RequestTooLargeError",
        415 => "UnsupportedMediaTypeError",
        429 => "RateLimitError",
        503 => "ServiceUnavailableError",
        >= 500 => "InternalServerError",
        _ => "BadRequestError",
    };
}

/// <summary>What went wrong: text, class, field at fault (or null) and HTTP status.</summary>
internal sealed record ErrorDetail(string Message, string Type, string? Param, int Code);
