using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>A figure with its 95 % interval, from resampling whole clusters: pairs of one prompt are not independent.</summary>
/// <param name="Mean">0 to 1.</param>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Score(double Mean, double Low, double High)
{
    /// <summary>Scores verdicts by their mean.</summary>
    /// <param name="verdicts">At least one.</param>
    /// <param name="resamples">Bootstrap samples; the same in every run.</param>
    public static Score Of(IReadOnlyList<Verdict> verdicts, int resamples) =>
        OfSubsets(verdicts, [], [verdicts.Average(verdict => verdict.Correct)], means => means[0], resamples);

    /// <summary>Scores prompts by the mean of one number for each.</summary>
    /// <param name="means">At least one.</param>
    /// <param name="resamples">Bootstrap samples; the same in every run.</param>
    public static Score OfMeans(IReadOnlyList<double> means, int resamples)
    {
        Random random = new(1);
        double[] figures = [.. Enumerable.Range(0, resamples).Select(_ =>
        {
            double sum = 0;
            for (int draw = 0; draw < means.Count; draw++)
                sum += means[random.Next(means.Count)];
            return sum / means.Count;
        }).Order()];
        return new Score(means.Average(), figures[resamples / 40], figures[resamples - 1 - resamples / 40]);
    }

    /// <summary>Scores verdicts by a figure made of the accuracies of subsets.</summary>
    /// <param name="verdicts">At least one.</param>
    /// <param name="subsets">Names of the subsets; none at all for one that holds everything.</param>
    /// <param name="accuracies">Their accuracies; a sample that has no pair of a subset falls back on it.</param>
    /// <param name="figure">The figure.</param>
    /// <param name="resamples">Bootstrap samples; the same in every run.</param>
    public static Score OfSubsets(IReadOnlyList<Verdict> verdicts, IReadOnlyList<string> subsets, double[] accuracies, Func<double[], double> figure, int resamples)
    {
        Dictionary<string, int> places = subsets.Select((name, place) => (name, place)).ToDictionary(entry => entry.name, entry => entry.place);
        // What each cluster adds to each subset it has pairs of.
        (int Subset, double Sum, int Count)[][] clusters =
            [.. verdicts.Select((verdict, index) => (verdict, name: verdict.Pair.Cluster.Length > 0 ? verdict.Pair.Cluster : $"#{index}")).GroupBy(item => item.name)
                .Select(cluster => cluster.GroupBy(item => Place(item.verdict.Pair)).Select(part => (part.Key, part.Sum(item => item.verdict.Correct), part.Count())).ToArray())];
        Random random = new(1);
        double[] figures = new double[resamples], sums = new double[accuracies.Length], means = new double[accuracies.Length];
        int[] counts = new int[accuracies.Length];
        for (int sample = 0; sample < resamples; sample++)
        {
            Array.Clear(sums);
            Array.Clear(counts);
            for (int draw = 0; draw < clusters.Length; draw++)
            {
                foreach ((int subset, double sum, int count) in clusters[random.Next(clusters.Length)])
                {
                    sums[subset] += sum;
                    counts[subset] += count;
                }
            }
            for (int subset = 0; subset < means.Length; subset++)
                means[subset] = counts[subset] > 0 ? sums[subset] / counts[subset] : accuracies[subset];
            figures[sample] = figure(means);
        }
        Array.Sort(figures);
        return new Score(figure(accuracies), figures[resamples / 40], figures[resamples - 1 - resamples / 40]);

        int Place(PreferencePair pair) => places.Count == 0 ? 0 : places[pair.Subset];
    }
}
