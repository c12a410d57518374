using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests;

/// <summary>A leader assigns prompts to the DP groups of a Task Executor; what groups hold and compute is known to whoever asks.</summary>
public sealed class PrefillLeaderTests
{
    private static EngineOptions Led => TestEngine.Options() with { LeadPrefill = true, LongPrompt = 100, MaxSequences = 4 };

    [Fact]
    public async Task Long_and_short_prompts_share_no_group_and_the_tokens_are_those_of_one_engine()
    {
        using TestEngine one = new();
        using TestEngine led = new(options: Led, threaded: false, groups: 2);
        int[][] prompts = [.. Enumerable.Range(0, 24).Select(i => one.Prompt(i % 4 == 0 ? 110 + 13 * i : 3 + 4 * i % 95, i))];
        Task<List<OutputDelta>>[] answers = [.. prompts.Select(prompt => TestEngine.Read(led.Submit(prompt, TestEngine.Greedy(1))))];
        bool[] worked = new bool[2], wasLong = new bool[2];
        int turns = 0;
        while (led.Shell.Unfinished > 0)
        {
            Assert.True(++turns < 5000, "The leader starves requests.");
            foreach (DpGroup group in led.Shell.Groups)
            {
                group.Step();
                PromptClass[] classes = [.. group.Sequences.Select(sequence => sequence.Submission!.Class).Distinct()];
                Assert.True(classes.Length <= 1, $"Group {group.Number} computes long and short prompts together.");
                worked[group.Number] |= classes.Length == 1;
                wasLong[group.Number] |= classes.Contains(PromptClass.Long);
            }
        }
        Assert.Equal([true, true], worked);
        Assert.Contains(true, wasLong);
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(await one.Tokens(prompts[i], TestEngine.Greedy(1)), TestEngine.Tokens(await answers[i]));
        long gathers = led.Shell.Groups[0].Leader!.Gathers;
        foreach (DpGroup group in led.Shell.Groups)
            group.Step();
        Assert.Equal(gathers, led.Shell.Groups[0].Leader!.Gathers); // nothing waits: nothing is gathered
        PrefillStatus status = led.Shell.Prefill;
        Assert.Equal((PromptClass.None, 0), (status.Class, status.Backlog));
        Assert.NotEqual(PrefillCostModel.Prior, status.Cost); // learned from those steps
    }

    [Fact]
    public async Task A_led_engine_survives_readers_that_leave_and_its_own_end()
    {
        TestEngine led = new(options: Led, groups: 3);
        Random random = new(2);
        await Task.WhenAll(Enumerable.Range(0, 90).Select(async i =>
        {
            using Generation generation = led.Submit(led.Prompt(random.Next(1, 200), i), TestEngine.Greedy(random.Next(1, 6)) with { N = 1 + i % 2 });
            if (i % 3 != 0)
                await TestEngine.Read(generation);
        }));
        await led.Idle();
        for (int i = 0; i < 40; i++)
            led.Submit(led.Prompt(150, i), TestEngine.Greedy(300));
        led.Dispose();
        Assert.Equal(0, led.Shell.Unfinished);
        Assert.Equal(0, led.Shell.Groups[0].Leader!.Waiting);
    }

    [Fact]
    public async Task No_group_is_believed_to_have_a_request_that_left_the_moment_it_was_given_to_it()
    {
        using TestEngine led = new(options: Led, groups: 2);
        for (int round = 0; round < 10; round++)
        {
            Gathered[] outputs = [new(), new()];
            Submission[] asked = [.. outputs.Select(output => led.Shell.Submit(new GenerationRequest { Id = "leaves", Prompt = led.Prompt(50, round), Sampling = TestEngine.Greedy(300) }, output))];
            Task[] leavers = [.. asked.Select(submission => Task.Run(() =>
            {
                while (submission.Group < 0)
                    Thread.Yield();
                submission.Abort();
            }))];
            await Task.WhenAll([.. leavers, outputs[0].End, outputs[1].End]);
        }
        await led.Idle();
        await led.Shell.PingAsync();
        Assert.Equal(0, led.Shell.ExpectedUsage);
    }

    [Fact]
    public async Task A_place_that_comes_free_in_a_turn_without_work_is_given_to_who_waits_for_the_leader()
    {
        using TestEngine led = new(options: Led with { MaxSequences = 1 });
        PatientSupply supply = new();
        led.Shell.Group.AddSupply(supply);
        Generation first = led.Submit(led.Prompt(50, 1), TestEngine.Greedy(1));
        await supply.Begun.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Generation second = led.Submit(led.Prompt(50, 2), TestEngine.Greedy(1));
        await led.Shell.PingAsync();
        first.Dispose();
        Assert.Single(TestEngine.Tokens(await TestEngine.Read(second)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_known_beginning_is_found_in_the_group_that_holds_it(bool lead)
    {
        using TestEngine engine = new(options: Led with { LeadPrefill = lead }, threaded: false, groups: 3);
        int[] shared = engine.Prompt(200, 1);
        // The first group is busy when the shared beginning comes, so another one has it from then on.
        Generation busy = engine.Submit(engine.Prompt(450, 2), TestEngine.Greedy(2));
        Turn();
        for (int round = 0; round < 3; round++)
        {
            Generation generation = engine.Submit([.. shared, .. engine.Prompt(5, 9 + round)], TestEngine.Greedy(2));
            while (engine.Shell.Unfinished > 0)
                Turn();
            await TestEngine.Read(generation);
        }
        await TestEngine.Read(busy);
        DpGroup holder = Assert.Single(engine.Shell.Groups, group => group.Prefill.Prefixes.Held(PrefixChain.Of([.. shared, 1], null)) >= 192);
        Assert.NotEqual(0, holder.Number);
        Assert.Equal(2 * 192, holder.Metrics.PrefixHits);

        void Turn()
        {
            foreach (DpGroup group in engine.Shell.Groups)
                group.Step();
        }
    }

    [Theory]
    [InlineData(4)]
    [InlineData(16)]
    [InlineData(64)]
    [InlineData(128)]
    public async Task What_is_told_of_prefixes_is_what_requests_find(int blockSize)
    {
        using TestEngine engine = new(options: TestEngine.Options() with { BlockSize = blockSize, NumBlocksOverride = 1024 / blockSize });
        Random random = new(blockSize);
        List<int[]> prompts = [.. Enumerable.Range(0, 12).Select(i => engine.Prompt(random.Next(1, 400), i))];
        prompts.AddRange(prompts[..6].Select((prompt, i) => (int[])[.. prompt[..(prompt.Length / 2)], .. engine.Prompt(150, 100 + i)]));
        long hits = 0;
        for (int i = 0; i < 60; i++)
        {
            int[] prompt = prompts[random.Next(prompts.Count)];
            string? salt = i % 5 == 0 ? "tenant" : null;
            int told = engine.Shell.SumUpPrefixes().Held(PrefixChain.Of(prompt, salt));
            Generation generation = engine.Submit(prompt, TestEngine.Greedy(2), salt);
            await TestEngine.Read(generation);
            await engine.Idle();
            long found = engine.Metrics.PrefixHits - hits;
            hits += found;
            Assert.Equal(found / Math.Max(blockSize, PrefixChain.Span), told / Math.Max(blockSize, PrefixChain.Span));
        }
        Assert.True(hits > 0);
        Assert.True(await engine.Shell.ResetPrefixCacheAsync());
        Assert.Empty(engine.Shell.SumUpPrefixes().Names);
    }

    /// <summary>Fetches for the first sequence, until that is cancelled.</summary>
    private sealed class PatientSupply : IKvSupply
    {
        private Sequence? cancelled;

        public TaskCompletionSource Begun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int Reach(Sequence sequence, int from) => Begun.Task.IsCompleted ? 0 : 49;

        public void Begin(Sequence sequence, int from, int to) => Begun.SetResult();

        public void Cancel(Sequence sequence) => cancelled = sequence;

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            (sequence, computed) = (cancelled!, 0);
            cancelled = null;
            return sequence is not null;
        }
    }
}
