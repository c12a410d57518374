namespace XDeepServe.Alignment.Ranking;

/// <summary>
/// The model in which i beats j with probability σ(sᵢ − sⱼ), fitted by minorisation and maximisation (Hunter 2004). Wins may be
/// fractions: the sum of a judge's probabilities.
/// </summary>
public static class BradleyTerry
{
    private const int MostRounds = 10_000;
    private const double Precision = 1e-10;

    // A draw's worth against an average opponent, so that whoever won or lost everything has a finite strength.
    private const double Prior = 1e-3;

    /// <summary>Fits strengths.</summary>
    /// <param name="wins">[n, n]: how often the row beat the column.</param>
    /// <returns>[n] strengths whose sum is 0, in log-odds.</returns>
    /// <exception cref="ArgumentException">The matrix is not square.</exception>
    public static double[] Fit(double[,] wins)
    {
        int count = wins.GetLength(0);
        if (wins.GetLength(1) != count)
            throw new ArgumentException($"Wins are a square matrix, not {count} x {wins.GetLength(1)}.");
        double[] weights = Enumerable.Repeat(1.0, count).ToArray();
        for (int round = 0; round < MostRounds; round++)
        {
            double[] next = new double[count];
            for (int i = 0; i < count; i++)
            {
                double won = Prior, met = 2 * Prior / (weights[i] + 1);
                for (int j = 0; j < count; j++)
                {
                    if (i == j)
                        continue;
                    won += wins[i, j];
                    met += (wins[i, j] + wins[j, i]) / (weights[i] + weights[j]);
                }
                next[i] = won / met;
            }
            double centre = Math.Exp(next.Average(Math.Log)), change = 0;
            for (int i = 0; i < count; i++)
            {
                next[i] /= centre;
                change = Math.Max(change, Math.Abs(Math.Log(next[i] / weights[i])));
            }
            weights = next;
            if (change < Precision)
                break;
        }
        return [.. weights.Select(weight => Math.Log(weight))];
    }
}
