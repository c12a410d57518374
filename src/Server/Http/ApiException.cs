namespace XDeepServe.Server.Http;

/// <summary>A request that is answered with an error body. <see cref="Exception.Message"/> goes to the client.</summary>
internal sealed class ApiException(int status, string message, string? param = null, TimeSpan? retryAfter = null)
    : Exception(message)
{
    /// <summary>HTTP status of the answer.</summary>
    public int Status { get; } = status;

    /// <summary>The request field at fault, as the client wrote it.</summary>
    public string? Param { get; } = param;

    /// <summary>When a retry may succeed; sent as <c>Retry-After</c>.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;

    /// <summary>A bad field: status 400.</summary>
    public static ApiException BadRequest(string message, string? param = null) => new(400, message, param);

    /// <summary>A model name nobody answers to: status 404.</summary>
    public static ApiException UnknownModel(string name) =>
        new(404, $"The model '{name}' does not exist. GET /v1/models lists the models served here.", "model");
}
