namespace XDeepServe.Alignment.Margins;

/// <summary>How two lists of numbers go together.</summary>
public static class Correlation
{
    /// <summary>Pearson's; 0 if one of them never changes.</summary>
    public static double Pearson(IReadOnlyList<double> first, IReadOnlyList<double> second)
    {
        double meanFirst = first.Average(), meanSecond = second.Average(), product = 0, squaresFirst = 0, squaresSecond = 0;
        for (int i = 0; i < first.Count; i++)
        {
            (double a, double b) = (first[i] - meanFirst, second[i] - meanSecond);
            product += a * b;
            squaresFirst += a * a;
            squaresSecond += b * b;
        }
        return squaresFirst > 0 && squaresSecond > 0 ? product / Math.Sqrt(squaresFirst * squaresSecond) : 0;
    }

    /// <summary>Spearman's: Pearson's of the ranks; equals share the mean of their ranks.</summary>
    public static double Spearman(IReadOnlyList<double> first, IReadOnlyList<double> second) => Pearson(Ranks(first), Ranks(second));

    internal static double[] Ranks(IReadOnlyList<double> values)
    {
        int[] order = [.. Enumerable.Range(0, values.Count).OrderBy(index => values[index])];
        double[] ranks = new double[values.Count];
        for (int start = 0, end; start < order.Length; start = end)
        {
            for (end = start + 1; end < order.Length && values[order[end]] == values[order[start]];)
                end++;
            for (int place = start; place < end; place++)
                ranks[order[place]] = (start + end - 1) / 2.0 + 1;
        }
        return ranks;
    }
}
