using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Selection;

/// <summary>The plane through many vectors that keeps most of their variance: for looking at them.</summary>
public sealed class PrincipalPlane
{
    private const int MostPasses = 500;
    private const double Precision = 1e-9;

    private PrincipalPlane(double[][] points, double[] shares) => (Points, Shares) = (points, shares);

    /// <summary>Where each vector lies; <c>[rows][2]</c>.</summary>
    public IReadOnlyList<double[]> Points { get; }

    /// <summary>Share of the variance along each of the two directions, falling.</summary>
    public IReadOnlyList<double> Shares { get; }

    /// <summary>Finds it by power iteration from a fixed start. A direction's sign is such that its largest value is positive.</summary>
    /// <param name="vectors">At least two of one length.</param>
    public static PrincipalPlane Of(IReadOnlyList<float[]> vectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vectors.Count, 2);
        int columns = vectors[0].Length;
        double[] mean = new double[columns];
        foreach (float[] vector in vectors)
            for (int i = 0; i < columns; i++)
                mean[i] += vector[i] / (double)vectors.Count;
        double[][] rows = [.. vectors.Select(vector => vector.Select((value, i) => value - mean[i]).ToArray())];
        double total = rows.Sum(row => TensorPrimitives.SumOfSquares<double>(row));
        double[][] points = [.. rows.Select(_ => new double[2])];
        double[] shares = new double[2];
        for (int axis = 0; axis < 2; axis++)
        {
            double[] direction = Direction(rows, columns);
            for (int row = 0; row < rows.Length; row++)
            {
                double place = points[row][axis] = TensorPrimitives.Dot<double>(rows[row], direction);
                shares[axis] += total > 0 ? place * place / total : 0;
                TensorPrimitives.MultiplyAdd(direction, -place, rows[row], rows[row]); // the next direction is orthogonal
            }
        }
        return new PrincipalPlane(points, shares);
    }

    private static double[] Direction(double[][] rows, int columns)
    {
        double[] direction = [.. Enumerable.Range(0, columns).Select(i => 1 + (i * 0.6180339887498949 % 1))];
        Scale(direction);
        for (int pass = 0; pass < MostPasses; pass++)
        {
            double[] next = new double[columns];
            foreach (double[] row in rows)
                TensorPrimitives.MultiplyAdd(row, TensorPrimitives.Dot<double>(row, direction), next, next);
            if (!Scale(next))
                return new double[columns]; // no variance is left
            double turn = TensorPrimitives.Distance<double>(next, direction);
            direction = next;
            if (turn < Precision)
                break;
        }
        if (direction.MaxBy(Math.Abs) < 0)
            TensorPrimitives.Negate(direction, direction);
        return direction;
    }

    private static bool Scale(double[] vector)
    {
        double length = Math.Sqrt(TensorPrimitives.SumOfSquares<double>(vector));
        if (length < 1e-12)
            return false;
        TensorPrimitives.Divide(vector, length, vector);
        return true;
    }
}
