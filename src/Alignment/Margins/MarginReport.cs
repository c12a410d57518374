namespace XDeepServe.Alignment.Margins;

/// <summary>How well margins are predicted for prompts that the predictor has not seen.</summary>
/// <param name="Pairs">Pairs.</param>
/// <param name="Error">Mean squared error.</param>
/// <param name="MeanError">Mean squared error of predicting the mean.</param>
/// <param name="Pearson">Correlation of predictions and labels.</param>
/// <param name="Spearman">Correlation of their ranks.</param>
public sealed record MarginReport(int Pairs, double Error, double MeanError, double Pearson, double Spearman)
{
    /// <summary>Cross-validates: a prompt's pairs are all in one fold, and each fold is predicted by what was fitted to the others.</summary>
    /// <param name="features">One for each pair.</param>
    /// <param name="margins">Their labels.</param>
    /// <param name="clusters">Which prompt each belongs to.</param>
    /// <param name="fit">Fits a predictor to features, labels and their prompts.</param>
    /// <param name="folds">Folds; fewer where there are fewer prompts.</param>
    /// <exception cref="Data.DataException">There are fewer than two prompts.</exception>
    public static MarginReport CrossValidate(
        IReadOnlyList<float[]> features, IReadOnlyList<double> margins, IReadOnlyList<string> clusters,
        Func<IReadOnlyList<float[]>, IReadOnlyList<double>, IReadOnlyList<string>, MarginPredictor> fit, int folds = 5)
    {
        string[] prompts = [.. clusters.Distinct().Order(StringComparer.Ordinal)];
        new Random(1).Shuffle(prompts);
        folds = Math.Min(folds, prompts.Length);
        if (folds < 2)
            throw new Data.DataException("Margins are validated on other prompts than those fitted to: give pairs of at least two prompts.");
        Dictionary<string, int> fold = prompts.Select((prompt, index) => (prompt, index)).ToDictionary(entry => entry.prompt, entry => entry.index % folds);
        double[] predicted = new double[margins.Count];
        double meanError = 0;
        for (int part = 0; part < folds; part++)
        {
            int[] seen = [.. Enumerable.Range(0, margins.Count).Where(index => fold[clusters[index]] != part)];
            if (seen.Length < RidgeRegression.LeastExamples)
                throw new Data.DataException($"Without the prompts that are foretold {seen.Length} pairs are left to fit to; give at least {RidgeRegression.LeastExamples}, of more prompts.");
            double[] labels = [.. seen.Select(index => margins[index])];
            MarginPredictor predictor = fit([.. seen.Select(index => features[index])], labels, [.. seen.Select(index => clusters[index])]);
            double mean = labels.Average();
            foreach (int index in Enumerable.Range(0, margins.Count).Where(index => fold[clusters[index]] == part))
            {
                predicted[index] = predictor.Predict(features[index]);
                meanError += (margins[index] - mean) * (margins[index] - mean) / margins.Count;
            }
        }
        return new MarginReport(margins.Count, predicted.Zip(margins, (one, other) => (one - other) * (one - other)).Average(), meanError, Correlation.Pearson(predicted, margins), Correlation.Spearman(predicted, margins));
    }
}
