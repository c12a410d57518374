using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Selection;

/// <summary>Cosines of candidates' features with those of targets.</summary>
internal static class Cosines
{
    /// <summary>With the mean of all targets; where they are normalised first, that is, up to one factor, the mean of the cosines with each.</summary>
    public static double[] WithMean(FeatureFile candidates, FeatureFile targets, bool normalises)
    {
        float[] row = new float[targets.Columns];
        double[] centre = new double[targets.Columns];
        for (int target = 0; target < targets.Rows; target++)
        {
            targets.Read(target, row);
            if (normalises)
                RademacherProjection.Normalise(row);
            for (int i = 0; i < row.Length; i++)
                centre[i] += row[i] / (double)targets.Rows;
        }
        double length = Math.Sqrt(TensorPrimitives.SumOfSquares<double>(centre));
        if (!normalises && length > 0)
            TensorPrimitives.Divide(centre, length, centre);
        double[] scores = new double[candidates.Rows];
        for (int candidate = 0; candidate < scores.Length; candidate++)
        {
            candidates.Read(candidate, row);
            RademacherProjection.Normalise(row);
            for (int i = 0; i < row.Length; i++)
                scores[candidate] += row[i] * centre[i];
        }
        return scores;
    }

    /// <summary>With the target that is nearest.</summary>
    public static double[] WithNearest(FeatureFile candidates, FeatureFile targets, int threads, CancellationToken cancel)
    {
        float[][] wanted = new float[targets.Rows][];
        for (int target = 0; target < wanted.Length; target++)
        {
            targets.Read(target, wanted[target] = new float[targets.Columns]);
            RademacherProjection.Normalise(wanted[target]);
        }
        double[] scores = new double[candidates.Rows];
        using ThreadLocal<float[]> scratch = new(() => new float[candidates.Columns]);
        Parallel.For(0, scores.Length, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancel }, candidate =>
        {
            float[] row = scratch.Value!;
            candidates.Read(candidate, row);
            RademacherProjection.Normalise(row);
            scores[candidate] = wanted.Aggregate(float.NegativeInfinity, (best, target) => MathF.Max(best, TensorPrimitives.Dot<float>(row, target))); // which NaN wins
        });
        return scores;
    }
}
