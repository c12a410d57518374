namespace XDeepServe.Alignment.Evaluation;

/// <summary>A mean with its 95 % interval, from resampling whole clusters: pairs of one prompt are not independent.</summary>
/// <param name="Mean">0 to 1.</param>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Score(double Mean, double Low, double High)
{
    /// <summary>Scores verdicts.</summary>
    /// <param name="verdicts">At least one.</param>
    /// <param name="resamples">Bootstrap samples; the same in every run.</param>
    public static Score Of(IReadOnlyList<Verdict> verdicts, int resamples)
    {
        (double Sum, int Count)[] clusters =
            [.. verdicts.Select((verdict, index) => (verdict, name: verdict.Pair.Cluster.Length > 0 ? verdict.Pair.Cluster : $"#{index}")).GroupBy(item => item.name)
                .Select(group => (group.Sum(item => item.verdict.Correct), group.Count()))];
        Random random = new(1);
        double[] means = new double[resamples];
        for (int sample = 0; sample < resamples; sample++)
        {
            double sum = 0;
            int count = 0;
            for (int draw = 0; draw < clusters.Length; draw++)
            {
                (double part, int size) = clusters[random.Next(clusters.Length)];
                sum += part;
                count += size;
            }
            means[sample] = sum / count;
        }
        Array.Sort(means);
        return new Score(verdicts.Average(verdict => verdict.Correct), means[resamples / 40], means[resamples - 1 - resamples / 40]);
    }
}
