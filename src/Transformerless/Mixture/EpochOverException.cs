namespace XDeepServe.Transformerless.Mixture;

/// <summary>Ranks have gone or come back, and all have agreed on it: this rank meets the others in the next epoch.</summary>
internal sealed class EpochOverException() : IOException("Other ranks take part from now on.");
