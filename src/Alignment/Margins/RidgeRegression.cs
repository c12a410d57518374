using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Margins;

/// <summary>
/// Linear regression with a penalty λ ‖w‖² in closed form, over features or over examples, whichever are fewer. λ is the one of a grid with
/// the least squared error when each prompt's examples are left out together, which the closed form gives without fitting again:
/// (I − H − 1/n)⁻¹ e over the rows of the prompt. Examples of one prompt are alike: left out one by one they would foretell each other.
/// </summary>
public static class RidgeRegression
{
    /// <summary>Examples that are needed.</summary>
    public const int LeastExamples = 3;

    private static readonly double[] Grid = [1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3];

    /// <summary>Fits.</summary>
    /// <param name="features">At least three of one length.</param>
    /// <param name="margins">One for each.</param>
    /// <param name="clusters">Which prompt each belongs to; examples of a single prompt are left out one by one.</param>
    /// <param name="penalty">λ divided by the number of examples; null to choose.</param>
    public static MarginPredictor Fit(IReadOnlyList<float[]> features, IReadOnlyList<double> margins, IReadOnlyList<string> clusters, double? penalty = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(features.Count, LeastExamples);
        ArgumentOutOfRangeException.ThrowIfNotEqual(margins.Count, features.Count);
        ArgumentOutOfRangeException.ThrowIfNotEqual(clusters.Count, features.Count);
        int[][] prompts = [.. Enumerable.Range(0, clusters.Count).GroupBy(index => clusters[index]).Select(group => group.ToArray())];
        if (prompts.Length == 1)
            prompts = [.. prompts[0].Select(index => new[] { index })];
        MarginPredictor standard = MarginPredictor.Standardising("ridge", features);
        double[][] rows = standard.StandardiseAll(features);
        int columns = standard.Mean.Length;
        double centre = margins.Average();
        double[] targets = [.. margins.Select(margin => margin - centre)];
        bool overExamples = rows.Length < columns;
        double[][] products = Products(overExamples ? rows : Transpose(rows));
        (double[] Weights, double Error) best = ((double[])[], double.PositiveInfinity);
        foreach (double candidate in penalty is { } given ? [given] : Grid)
        {
            (double[] Weights, double Error) found = Solve(rows, targets, products, prompts, overExamples, candidate * rows.Length);
            if (found.Error < best.Error)
                best = found;
        }
        return standard with { Layers = [new MarginLayer([best.Weights], [centre])] };
    }

    private static (double[] Weights, double Error) Solve(double[][] rows, double[] targets, double[][] products, int[][] prompts, bool overExamples, double lambda)
    {
        Cholesky factor = new([.. products.Select((row, i) => row.Select((value, j) => i == j ? value + lambda : value).ToArray())]);
        double[] weights = overExamples ? Combine(rows, factor.Solve(targets)) : factor.Solve(Combine(rows, targets));
        double error = 0;
        foreach (int[] prompt in prompts)
        {
            // I - H is λ (K + λ)⁻¹ over examples, and I - X (XᵀX + λ)⁻¹ Xᵀ over features.
            double[][] halves = [.. prompt.Select(i => factor.Forward(overExamples ? Unit(rows.Length, i) : rows[i]))];
            double[][] left = Products(halves);
            for (int i = 0; i < prompt.Length; i++)
                for (int j = 0; j <= i; j++)
                    left[i][j] = (overExamples ? lambda * left[i][j] : (i == j ? 1 : 0) - left[i][j]) - 1.0 / rows.Length + (i == j ? 1e-9 : 0);
            double[] residuals = [.. prompt.Select(i => targets[i] - TensorPrimitives.Dot<double>(rows[i], weights))];
            error += TensorPrimitives.SumOfSquares<double>(new Cholesky(left).Solve(residuals));
        }
        return (weights, error);
    }

    private static double[] Unit(int length, int place)
    {
        double[] unit = new double[length];
        unit[place] = 1;
        return unit;
    }

    private static double[] Combine(double[][] rows, double[] shares)
    {
        double[] sum = new double[rows[0].Length];
        for (int i = 0; i < rows.Length; i++)
            TensorPrimitives.MultiplyAdd(rows[i], shares[i], sum, sum);
        return sum;
    }

    // The lower half of M Mᵀ; rows are as long as the matrix, so that they can be copied.
    private static double[][] Products(double[][] matrix)
    {
        double[][] products = [.. matrix.Select(row => new double[matrix.Length])];
        for (int i = 0; i < matrix.Length; i++)
            for (int j = 0; j <= i; j++)
                products[i][j] = TensorPrimitives.Dot<double>(matrix[i], matrix[j]);
        return products;
    }

    private static double[][] Transpose(double[][] rows) => [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Select(row => row[column]).ToArray())];
}
