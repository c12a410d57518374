namespace XDeepServe.FlowServe.Tests;

/// <summary>Several DP groups in one Task Executor.</summary>
public sealed class DataParallelTests
{
    [Fact]
    public async Task Several_groups_give_the_tokens_of_one_and_all_work()
    {
        SamplingParameters seeded = new() { Seed = 9, Temperature = 1.1, MaxTokens = 20, IgnoreEos = true, Detokenize = false };
        using TestEngine one = new();
        using TestEngine many = new(options: TestEngine.Options() with { MaxSequences = 3 }, groups: 3);
        int[][] prompts = [.. Enumerable.Range(0, 30).Select(i => one.Prompt(5 + 7 * i % 90, i))];
        int[][] alone = await Task.WhenAll(prompts.Select((prompt, i) => one.Tokens(prompt, i % 2 == 0 ? TestEngine.Greedy(20) : seeded)));
        int[][] spread = await Task.WhenAll(prompts.Select((prompt, i) => many.Tokens(prompt, i % 2 == 0 ? TestEngine.Greedy(20) : seeded)));
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(alone[i], spread[i]);
        await many.Idle();
        Assert.All(many.Shell.Metrics, group => Assert.True(group.GenerationTokens > 0));
        Assert.Equal(600, many.Shell.Metrics.Sum(group => group.GenerationTokens));
    }

    [Fact]
    public async Task Requests_that_leave_at_any_time_leave_nothing_behind()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { MaxSequences = 2 }, groups: 2);
        Random random = new(5);
        List<Task> readers = [];
        for (int i = 0; i < 120; i++)
        {
            Generation generation = engine.Submit(engine.Prompt(random.Next(1, 60), i), TestEngine.Greedy(random.Next(1, 12)) with { N = 1 + i % 3 });
            if (i % 3 == 0)
            {
                generation.Dispose(); // waiting, mostly
                continue;
            }
            readers.Add(i % 3 == 1 ? TestEngine.Read(generation) : Leave(generation));
        }
        await Task.WhenAll(readers);
        await engine.Idle();
        Assert.Equal(12, (await engine.Tokens(engine.Prompt(9, 1), TestEngine.Greedy(12))).Length);
        await engine.Shell.PingAsync();
        Assert.True(await engine.Shell.ResetPrefixCacheAsync());

        static async Task Leave(Generation generation)
        {
            await foreach (OutputDelta _ in generation)
                break;
            generation.Dispose();
        }
    }

    [Fact]
    public async Task Where_all_groups_are_full_requests_wait_and_the_queue_is_bounded()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { MaxSequences = 1, QueueLimit = 3 }, threaded: false, groups: 2);
        Generation[] all = [.. Enumerable.Range(0, 5).Select(i => engine.Submit(engine.Prompt(8, i), TestEngine.Greedy(4)))];
        Assert.Throws<QueueFullException>(() => engine.Submit(engine.Prompt(8, 6), TestEngine.Greedy(4)));
        foreach (DpGroup group in engine.Shell.Groups)
            group.Step();
        Assert.Equal((1, 1), (engine.Shell.Groups[0].Metrics.Running, engine.Shell.Groups[1].Metrics.Running));
        Assert.Equal((3, 0), (engine.Shell.Groups[0].Metrics.Waiting, engine.Shell.Groups[1].Metrics.Waiting));
        for (int turn = 0; turn < 40; turn++)
            foreach (DpGroup group in engine.Shell.Groups)
                group.Step();
        foreach (Generation generation in all)
            Assert.Equal(4, TestEngine.Tokens(await TestEngine.Read(generation)).Length);
        Assert.Equal(0, engine.Shell.Unfinished);
        Assert.All(engine.Shell.Metrics, group => Assert.InRange(group.GenerationTokens, 8, 12));
    }

    [Fact]
    public void An_engine_that_ends_ends_what_waits()
    {
        TestEngine engine = new(options: TestEngine.Options() with { MaxSequences = 1 }, groups: 2);
        for (int i = 0; i < 9; i++)
            engine.Submit(engine.Prompt(8, i), TestEngine.Greedy(400));
        engine.Dispose();
        Assert.Equal(0, engine.Shell.Unfinished);
    }
}
