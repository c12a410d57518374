using XDeepServe.Kernels.Naive;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Steps that are launched before the samples of the one before them are on the host. The naive backend brings samples as late as may be.</summary>
public sealed class AheadTests
{
    private static readonly int[] s_lengths = [3, 17, 40, 33, 5];

    [Fact]
    public async Task Tokens_are_those_of_steps_that_wait()
    {
        using TestEngine waiting = new(options: TestEngine.Options() with { PrefixCaching = false }), ahead = new(device: new NaiveBackend());
        for (int round = 0; round < 2; round++) // the second finds prefixes in the cache
        {
            // Ends at different lengths: a sequence that has ended was in the step that was launched meanwhile.
            int[][] expected = await Task.WhenAll(s_lengths.Select((length, i) => waiting.Tokens(waiting.Prompt(length, i), TestEngine.Greedy(4 + (3 * i)))));
            Assert.Equal(expected, await Task.WhenAll(s_lengths.Select((length, i) => ahead.Tokens(ahead.Prompt(length, i), TestEngine.Greedy(4 + (3 * i))))));
        }
        await ahead.Idle();
        Assert.True(ahead.Shell.Group.AheadSteps > 0);
        Assert.Equal(0, waiting.Shell.Group.AheadSteps);
    }

    [Fact]
    public async Task A_sequence_that_stops_early_gives_its_place_up_and_its_neighbour_goes_on()
    {
        using TestEngine engine = new(device: new NaiveBackend());
        int[] alone = await engine.Tokens(engine.Prompt(20, 1), TestEngine.Greedy(24));
        int[] other = await engine.Tokens(engine.Prompt(9, 2), TestEngine.Greedy(12));
        int stop = other[5];
        int[] until = other[..(Array.IndexOf(other, stop) + 1)];
        for (int round = 0; round < 4; round++)
        {
            Task<int[]> neighbour = engine.Tokens(engine.Prompt(20, 1), TestEngine.Greedy(24));
            List<OutputDelta> stopped = await engine.Run(engine.Prompt(9, 2), TestEngine.Greedy(12) with { StopTokenIds = [stop] });
            Assert.Equal("stop", stopped[^1].FinishReason);
            Assert.Equal(until, TestEngine.Tokens(stopped));
            Assert.Equal(alone, await neighbour);
        }
        await engine.Idle();
    }

    [Fact]
    public async Task Log_probabilities_and_jobs_between_steps_are_waited_for()
    {
        using TestEngine engine = new(device: new NaiveBackend());
        int[] alone = await engine.Tokens(engine.Prompt(20, 1), TestEngine.Greedy(16));
        int jobs = 0;
        Task<List<OutputDelta>> scored = engine.Run(engine.Prompt(20, 1), TestEngine.Greedy(16) with { Logprobs = 2 });
        Task<int[]> plain = engine.Tokens(engine.Prompt(20, 1), TestEngine.Greedy(16));
        for (int i = 0; i < 20; i++)
        {
            engine.Shell.Group.PostToExecutor(() => Interlocked.Increment(ref jobs));
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }
        List<OutputDelta> deltas = await scored;
        Assert.Equal(alone, TestEngine.Tokens(deltas));
        Assert.Equal(alone, deltas.SelectMany(delta => delta.Logprobs ?? []).Select(entry => entry.Id));
        Assert.Equal(alone, await plain);
        await engine.Idle();
        Assert.Equal(20, Volatile.Read(ref jobs));
    }
}
