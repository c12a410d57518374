namespace XDeepServe.Models.Calibrating;

/// <summary>How well a model foretells a text.</summary>
/// <param name="Tokens">Tokens that were foretold.</param>
/// <param name="MeanLogProbability">Mean of their natural log-probabilities.</param>
public sealed record Perplexity(int Tokens, double MeanLogProbability)
{
    /// <summary>e^(- mean log-probability): as if the model chose among that many tokens.</summary>
    public double Value => Math.Exp(-MeanLogProbability);

    /// <summary>Cuts a text into windows that know nothing of one another; the first token of each is given, the others count.</summary>
    /// <param name="runner">Runs the model.</param>
    /// <param name="ids">The text's tokens; a last window of one token is left out.</param>
    /// <param name="progress">Receives fractions from 0 to 1.</param>
    public static Perplexity Measure(WindowRunner runner, ReadOnlySpan<int> ids, IProgress<double>? progress = null)
    {
        double sum = 0;
        int count = 0;
        for (int start = 0; start < ids.Length - 1; start += runner.Length)
        {
            foreach (float value in runner.LogProbabilities(ids.Slice(start, Math.Min(runner.Length, ids.Length - start))))
                sum += value;
            count += Math.Min(runner.Length, ids.Length - start) - 1;
            progress?.Report((double)start / ids.Length);
        }
        return new Perplexity(count, sum / Math.Max(1, count));
    }
}
