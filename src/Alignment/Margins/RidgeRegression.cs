using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Margins;

/// <summary>
/// Linear regression with a penalty λ ‖w‖² in closed form, over features or over examples, whichever are fewer. λ is the one of a grid with
/// the least squared error when each example is left out, which the closed form gives without fitting again: eᵢ / (1 − Hᵢᵢ − 1/n).
/// </summary>
public static class RidgeRegression
{
    private static readonly double[] Grid = [1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3];

    /// <summary>Fits.</summary>
    /// <param name="features">At least three of one length.</param>
    /// <param name="margins">One for each.</param>
    /// <param name="penalty">λ divided by the number of examples; null to choose.</param>
    public static MarginPredictor Fit(IReadOnlyList<float[]> features, IReadOnlyList<double> margins, double? penalty = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(features.Count, 3);
        ArgumentOutOfRangeException.ThrowIfNotEqual(margins.Count, features.Count);
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
            (double[] Weights, double Error) found = Solve(rows, targets, products, overExamples, candidate * rows.Length);
            if (found.Error < best.Error)
                best = found;
        }
        return standard with { Layers = [new MarginLayer([best.Weights], [centre])] };
    }

    private static (double[] Weights, double Error) Solve(double[][] rows, double[] targets, double[][] products, bool overExamples, double lambda)
    {
        Cholesky factor = new([.. products.Select((row, i) => row.Select((value, j) => i == j ? value + lambda : value).ToArray())]);
        double[] weights = overExamples ? Combine(rows, factor.Solve(targets)) : factor.Solve(Combine(rows, targets));
        double error = 0;
        double[] unit = new double[rows.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            double left; // 1 - H_ii
            if (overExamples)
            {
                unit[i] = 1;
                left = lambda * TensorPrimitives.SumOfSquares<double>(factor.Forward(unit));
                unit[i] = 0;
            }
            else
            {
                left = 1 - TensorPrimitives.SumOfSquares<double>(factor.Forward(rows[i]));
            }
            double residual = (targets[i] - TensorPrimitives.Dot<double>(rows[i], weights)) / Math.Max(left - 1.0 / rows.Length, 1e-12);
            error += residual * residual;
        }
        return (weights, error);
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
