using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>Accuracy of a reward model on a benchmark.</summary>
public sealed record Report
{
    private const int Resamples = 2000;

    /// <summary>The benchmark's name.</summary>
    public required string Benchmark { get; init; }

    /// <summary>Pairs.</summary>
    public required int Pairs { get; init; }

    /// <summary>Pairs whose text did not fit the model; they count as ties.</summary>
    public required int TooLong { get; init; }

    /// <summary>Mean over all pairs.</summary>
    public required Score Micro { get; init; }

    /// <summary>Mean over the groups. A sample without any pair of a subset takes that subset's own accuracy.</summary>
    public required Score Macro { get; init; }

    /// <summary>Accuracy of each group.</summary>
    public required IReadOnlyList<(string Name, int Pairs, double Accuracy)> Groups { get; init; }

    /// <summary>Accuracy of each subset.</summary>
    public required IReadOnlyList<(string Name, int Pairs, double Accuracy)> Subsets { get; init; }

    /// <summary>Share of pairs with the same verdict in both orders.</summary>
    public required double Consistency { get; init; }

    /// <summary>Accuracy of preferring the longer answer.</summary>
    public required double LengthOnly { get; init; }

    /// <summary>Accuracy over as many pairs whose chosen answer is longer as pairs whose rejected one is; null if one kind is absent.</summary>
    public required Score? LengthBalanced { get; init; }

    /// <summary>Sums verdicts up.</summary>
    /// <param name="benchmark">Where the pairs came from.</param>
    /// <param name="verdicts">One for each pair.</param>
    public static Report Of(Benchmark benchmark, IReadOnlyList<Verdict> verdicts)
    {
        IGrouping<string, Verdict>[] parts = [.. verdicts.GroupBy(verdict => verdict.Pair.Subset).OrderBy(group => group.Key, StringComparer.Ordinal)];
        (string Name, int Pairs, double Accuracy)[] subsets = [.. parts.Select(part => (part.Key, part.Count(), part.Average(verdict => verdict.Correct)))];
        double[] accuracies = [.. subsets.Select(subset => subset.Accuracy)];
        string[] names = [.. subsets.Select(subset => benchmark.Group(subset.Name)).Distinct()];
        int[] groupOf = [.. subsets.Select(subset => Array.IndexOf(names, benchmark.Group(subset.Name)))];
        double[] weights = [.. subsets.Select(subset => benchmark.Weight(subset.Name) ?? subset.Pairs)];
        double[] means = MeansOfGroups(accuracies);
        (string Name, int Pairs, double Accuracy)[] groups =
            [.. names.Select((name, group) => (name, subsets.Where((_, subset) => groupOf[subset] == group).Sum(subset => subset.Pairs), means[group]))];
        return new Report
        {
            Benchmark = benchmark.Name,
            Pairs = verdicts.Count,
            TooLong = verdicts.Count(verdict => verdict.ChosenIsBetter is null),
            Micro = Score.Of(verdicts, Resamples),
            Macro = Score.OfSubsets(verdicts, [.. subsets.Select(subset => subset.Name)], accuracies, of => MeansOfGroups(of).Average(), Resamples),
            Groups = groups,
            Subsets = subsets,
            Consistency = verdicts.Average(verdict => verdict.Consistent ? 1.0 : 0.0),
            LengthOnly = verdicts.Average(verdict => Math.Sign(verdict.Pair.Chosen.Length - verdict.Pair.Rejected.Length) / 2.0 + 0.5),
            LengthBalanced = LengthBalance.Of(verdicts, verdict => verdict.Pair) is { Count: > 0 } balanced ? Score.Of(balanced, Resamples) : null,
        };

        double[] MeansOfGroups(double[] of)
        {
            double[] sums = new double[names.Length], total = new double[names.Length];
            for (int subset = 0; subset < of.Length; subset++)
            {
                sums[groupOf[subset]] += weights[subset] * of[subset];
                total[groupOf[subset]] += weights[subset];
            }
            return [.. sums.Zip(total, (sum, weight) => sum / weight)];
        }
    }
}
