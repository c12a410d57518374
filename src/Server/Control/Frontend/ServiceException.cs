namespace XDeepServe.Server.Control.Frontend;

/// <summary>The service could not answer a request although nothing is wrong with the request: HTTP 503.</summary>
/// <param name="message">What happened.</param>
public sealed class ServiceException(string message) : Exception(message);
