namespace XDeepServe.Models.Loading;

/// <summary>A model file or option that cannot be served; the message says what to do.</summary>
/// <param name="message">What is wrong and what to do.</param>
public sealed class ModelLoadException(string message) : Exception(message);
