using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Margins;

/// <summary>A symmetric positive definite matrix as a product L Lᵀ.</summary>
internal sealed class Cholesky
{
    private readonly double[][] lower; // row i holds i + 1 values

    /// <param name="matrix">Of which the lower half is read.</param>
    /// <exception cref="ArgumentException">It is not positive definite.</exception>
    public Cholesky(double[][] matrix)
    {
        lower = new double[matrix.Length][];
        for (int i = 0; i < matrix.Length; i++)
        {
            lower[i] = new double[i + 1];
            for (int j = 0; j <= i; j++)
            {
                double rest = matrix[i][j] - TensorPrimitives.Dot<double>(lower[i].AsSpan(0, j), lower[j].AsSpan(0, j));
                if (i == j && rest <= 0)
                    throw new ArgumentException("The matrix is not positive definite.", nameof(matrix));
                lower[i][j] = i == j ? Math.Sqrt(rest) : rest / lower[j][j];
            }
        }
    }

    /// <summary>Solves L z = <paramref name="right"/>.</summary>
    public double[] Forward(ReadOnlySpan<double> right)
    {
        double[] z = new double[lower.Length];
        for (int i = 0; i < z.Length; i++)
            z[i] = (right[i] - TensorPrimitives.Dot<double>(lower[i].AsSpan(0, i), z.AsSpan(0, i))) / lower[i][i];
        return z;
    }

    /// <summary>Solves L Lᵀ x = <paramref name="right"/>.</summary>
    public double[] Solve(ReadOnlySpan<double> right)
    {
        double[] x = Forward(right);
        for (int i = x.Length - 1; i >= 0; i--)
        {
            x[i] /= lower[i][i];
            TensorPrimitives.MultiplyAdd(lower[i].AsSpan(0, i), -x[i], x.AsSpan(0, i), x.AsSpan(0, i));
        }
        return x;
    }
}
