namespace XDeepServe.FlowServe;

/// <summary>A request could not be answered although nothing is wrong with it; a later try may be (HTTP 503).</summary>
/// <param name="message">What happened.</param>
/// <param name="cause">Why.</param>
public sealed class UnavailableException(string message, Exception? cause = null) : IOException(message, cause);
