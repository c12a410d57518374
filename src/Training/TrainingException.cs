namespace XDeepServe.Training;

/// <summary>Training cannot go on.</summary>
/// <param name="message">What is wrong and what to do.</param>
public sealed class TrainingException(string message) : Exception(message);
