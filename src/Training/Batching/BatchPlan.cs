namespace XDeepServe.Training.Batching;

/// <summary>
/// Which examples each step of an epoch takes: shuffled, and examples of like length together, so that little is padded. A pure function of seed
/// and epoch, so that a run that goes on after an interruption meets the same steps.
/// </summary>
public static class BatchPlan
{
    private const int StepsPerBucket = 32; // lengths are sorted within so many steps: enough to pad little, few enough to stay random

    /// <summary>The steps of an epoch.</summary>
    /// <param name="examples">All examples.</param>
    /// <param name="stepSize">Examples of a step; the last one may have fewer.</param>
    /// <param name="batchSize">Examples that run together.</param>
    /// <param name="seed">Of the run.</param>
    /// <param name="epoch">From 0.</param>
    /// <returns>For each step its batches.</returns>
    public static IReadOnlyList<IReadOnlyList<IReadOnlyList<Example>>> Epoch(IReadOnlyList<Example> examples, int stepSize, int batchSize, int seed, int epoch)
    {
        Random random = new(HashCode(seed, epoch));
        Example[] order = [.. examples];
        random.Shuffle(order);
        List<Example[]> steps = [];
        foreach (Example[] bucket in order.Chunk(stepSize * StepsPerBucket))
        {
            // A short step, if there is one, must not hold the longest alone: it is cut from the shuffled order's end.
            int whole = bucket.Length - bucket.Length % stepSize;
            steps.AddRange(bucket[..whole].OrderBy(example => example.Length).Chunk(stepSize));
            if (whole < bucket.Length)
                steps.Add(bucket[whole..]);
        }
        Example[][] mixed = [.. steps];
        random.Shuffle(mixed);
        return [.. mixed.Select(step => (IReadOnlyList<IReadOnlyList<Example>>)[.. step.OrderBy(example => example.Length).Chunk(batchSize)])];
    }

    /// <summary>Batches for a run without learning: like lengths together, any order.</summary>
    public static IEnumerable<IReadOnlyList<Example>> ByLength(IEnumerable<Example> examples, int batchSize) => examples.OrderBy(example => example.Length).Chunk(batchSize);

    // System.HashCode differs from run to run.
    private static int HashCode(int seed, int epoch) => unchecked(seed * 1_000_003 + epoch);
}
