using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Tests;

public sealed class BatchPlanTests
{
    [Fact]
    public void An_epoch_takes_every_example_once_like_lengths_together_and_is_the_same_for_the_same_seed()
    {
        Random random = new(1);
        Example[] all = [.. Enumerable.Range(0, 1003).Select(id => new Example([new Sequence([id, .. new int[random.Next(1, 400)]])]))];
        int[][][] first = Plan(seed: 3, epoch: 0);
        Assert.Equal(Enumerable.Range(0, 1003), first.SelectMany(step => step.SelectMany(batch => batch)).Order());
        Assert.Equal(first, Plan(3, 0));
        Assert.NotEqual(first, Plan(3, 1));
        Assert.NotEqual(first, Plan(4, 0));
        Assert.Equal([.. Enumerable.Repeat(32, 31), 11], first.Select(step => step.Sum(batch => batch.Length)).OrderDescending());
        Assert.All(first, step => Assert.All(step, batch => Assert.InRange(batch.Length, 1, 8)));
        // Padding of the plan beside that of batches in the order of the file.
        Assert.True(Padding(first.SelectMany(step => step)) < 0.2 * Padding(Enumerable.Range(0, 1003).Chunk(8)), "little is padded");

        int[][][] Plan(int seed, int epoch) => [.. BatchPlan.Epoch(all, 32, 8, seed, epoch).Select(step => step.Select(batch => batch.Select(example => example.Sequences[0].Ids[0]).ToArray()).ToArray())];

        int Padding(IEnumerable<int[]> batches) => batches.Sum(batch => batch.Sum(id => batch.Max(other => all[other].Length) - all[id].Length));
    }
}
