using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Selection;

/// <summary>How well sets of vectors keep apart: from which set the nearest other vector of each comes.</summary>
public static class Neighbours
{
    /// <summary>Shares of nearest neighbours, by cosine.</summary>
    /// <param name="vectors">Vectors of one length; at least two.</param>
    /// <param name="sets">The set of each, from 0.</param>
    /// <param name="count">Sets.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns><c>[set, set]</c>: of the vectors of the first, the share whose nearest neighbour is of the second. A row sums to 1, or to 0 for an empty set.</returns>
    public static double[,] Shares(IReadOnlyList<float[]> vectors, IReadOnlyList<int> sets, int count, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vectors.Count, 2);
        float[][] unit = [.. vectors.Select(vector =>
        {
            float[] copy = [.. vector];
            RademacherProjection.Normalise(copy);
            return copy;
        })];
        int[] nearest = new int[unit.Length];
        Parallel.For(0, unit.Length, new ParallelOptions { CancellationToken = cancel }, row =>
        {
            float best = float.NegativeInfinity;
            for (int other = 0; other < unit.Length; other++)
                if (other != row && TensorPrimitives.Dot<float>(unit[row], unit[other]) is var cosine && cosine > best)
                    (best, nearest[row]) = (cosine, other);
        });
        double[,] shares = new double[count, count];
        for (int row = 0; row < unit.Length; row++)
            shares[sets[row], sets[nearest[row]]] += 1.0 / sets.Count(set => set == sets[row]);
        return shares;
    }
}
