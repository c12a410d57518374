using System.Numerics.Tensors;
using XDeepServe.Alignment.Data;
using XDeepServe.Kernels;

namespace XDeepServe.Alignment.Selection;

/// <summary>What was asked of a selection.</summary>
public sealed record SelectionSettings
{
    /// <summary>How candidates are scored.</summary>
    public SelectionMethod Method { get; init; } = SelectionMethod.Transport;

    /// <summary>Candidates to keep; all if there are fewer.</summary>
    public required int Keep { get; init; }

    /// <summary>For selection by lot.</summary>
    public ulong Seed { get; init; }

    /// <summary>Bytes of distances to hold.</summary>
    public long Memory { get; init; } = 4L << 30;

    /// <summary>Of entropic transport; also how many threads there are.</summary>
    public SinkhornSettings Sinkhorn { get; init; } = new();
}

/// <summary>Preference data selection: keeps the candidates that teach what the targets teach (RoVRM, "optimal transport-based preference data selection").</summary>
public static class Selector
{
    /// <summary>Scores and picks.</summary>
    /// <param name="candidates">Features to choose from.</param>
    /// <param name="targets">Features of what they are wanted for.</param>
    /// <param name="settings">How.</param>
    /// <param name="plan">Of entropic transport, if it was solved elsewhere, such as on a GPU; null to solve it here.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DataException">The two sets cannot be compared.</exception>
    public static SelectionReport Select(FeatureFile candidates, FeatureFile targets, SelectionSettings settings, TransportPlan? plan = null, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Keep, 1);
        candidates.Match(targets); // whatever the method
        double[] scores = settings.Method switch
        {
            SelectionMethod.Transport => (plan ??= Sinkhorn.Solve(new FeatureCosts(candidates, targets, settings.Memory), settings.Sinkhorn, cancel)).RowCosts,
            SelectionMethod.Distance => Distances(new FeatureCosts(candidates, targets, settings.Memory), settings.Sinkhorn.Threads, cancel),
            SelectionMethod.Less or SelectionMethod.Preference => Cosines.WithMean(candidates, targets, normalises: true),
            SelectionMethod.Centroid => Cosines.WithMean(candidates, targets, normalises: false),
            SelectionMethod.Nearest => Cosines.WithNearest(candidates, targets, settings.Sinkhorn.Threads, cancel),
            SelectionMethod.Random => [.. Enumerable.Range(0, candidates.Rows).Select(row => (double)RandomStream.Uniform(settings.Seed, (uint)row))],
            _ => new double[candidates.Rows],
        };
        if (Array.FindIndex(scores, score => !double.IsFinite(score)) is >= 0 and { } row)
            throw new DataException($"Candidate {row}'s score is {scores[row]}; features hold no NaN and nothing infinite. Compute them again.");
        bool lower = settings.Method is SelectionMethod.Transport or SelectionMethod.Distance;
        int keep = settings.Method == SelectionMethod.All ? candidates.Rows : Math.Min(settings.Keep, candidates.Rows);
        int[] order = [.. Enumerable.Range(0, candidates.Rows).OrderBy(row => lower ? scores[row] : -scores[row]).ThenBy(row => row)];
        return new SelectionReport
        {
            Method = settings.Method,
            Candidates = candidates.Rows,
            Targets = targets.Rows,
            Columns = candidates.Columns,
            Kept = order[..keep],
            Scores = scores,
            LowerIsBetter = lower,
            Plan = plan,
        };
    }

    private static double[] Distances(CostBlocks costs, int threads, CancellationToken cancel)
    {
        double[] means = new double[costs.Rows];
        using ThreadLocal<float[]> scratch = new(() => new float[CostBlocks.BlockRows * costs.Columns]);
        Parallel.For(0, costs.Count, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancel }, block =>
        {
            ReadOnlySpan<float> values = costs.Block(block, scratch.Value!);
            for (int row = 0; row < costs.RowsOf(block); row++)
                means[(block * CostBlocks.BlockRows) + row] = TensorPrimitives.Sum(values.Slice(row * costs.Columns, costs.Columns)) / costs.Columns;
        });
        return means;
    }
}
