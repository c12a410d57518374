namespace XDeepServe.Models.Images;

/// <summary>An image that cannot be taken.</summary>
/// <param name="message">What is wrong with it and what would do.</param>
public sealed class ImageException(string message) : Exception(message);
