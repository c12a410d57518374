using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>One micro-batch or two, on steps that take what the test says.</summary>
public sealed class MicroBatchChoiceTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void What_is_asked_for_is_done_whatever_it_takes(int asked)
    {
        MicroBatchChoice choice = new(asked);
        Assert.All(Run(choice, 200, 16, one: asked == 1 ? 9 : 1, two: asked == 1 ? 1 : 9), parts => Assert.Equal(asked, parts));
    }

    [Theory]
    [InlineData(10, 6, 2)]
    [InlineData(6, 10, 1)]
    public void Both_are_tried_and_the_faster_is_done_but_for_a_few_trials(int one, int two, int faster)
    {
        MicroBatchChoice choice = new(0);
        int[] steps = Run(choice, 640, 16, one, two);
        Assert.Contains(3 - faster, steps[..64]);
        // Of 64 steps four try what is slower.
        Assert.Equal(9 * 60, steps[64..].Count(parts => parts == faster));
    }

    [Fact]
    public void Each_size_of_a_step_has_a_choice_of_its_own()
    {
        MicroBatchChoice choice = new(0);
        Run(choice, 256, 4, one: 5, two: 9);
        Run(choice, 256, 64, one: 9, two: 5);
        Assert.True(Run(choice, 64, 5, one: 5, two: 9).Count(parts => parts == 1) >= 59); // as 4 rows; the step before was of another size
        Assert.True(Run(choice, 64, 64, one: 9, two: 5).Count(parts => parts == 2) >= 59);
    }

    [Fact]
    public void The_choice_changes_when_the_times_do()
    {
        MicroBatchChoice choice = new(0);
        Assert.Equal(60, Run(choice, 256, 16, one: 5, two: 9)[192..].Count(parts => parts == 1));
        Assert.Equal(60, Run(choice, 512, 16, one: 5, two: 1)[448..].Count(parts => parts == 2));
    }

    [Fact]
    public void Before_a_step_has_been_timed_it_is_one()
    {
        MicroBatchChoice choice = new(0);
        choice.Observe(TimeSpan.Zero); // unknown
        int[] steps = [.. Enumerable.Range(0, 64).Select(_ => choice.Next())];
        Assert.Equal(60, steps.Count(parts => parts == 1));
    }

    /// <summary>Micro-batches of steps of a size, each of which takes as many milliseconds as it has with one or with two.</summary>
    private static int[] Run(MicroBatchChoice choice, int steps, int rows, int one, int two)
    {
        int[] parts = new int[steps];
        for (int step = 0; step < steps; step++)
        {
            parts[step] = choice.Next();
            choice.Begin(rows, parts[step]);
            choice.Observe(TimeSpan.FromMilliseconds(parts[step] == 1 ? one : two));
        }
        return parts;
    }
}
