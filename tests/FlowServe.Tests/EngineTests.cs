namespace XDeepServe.FlowServe.Tests;

public sealed class EngineTests
{
    public static TheoryData<string> Families => ["qwen3", "deepseek_v3", "mistral_random"];

    [Theory]
    [MemberData(nameof(Families))]
    public async Task Batched_chunked_cached_and_preempted_runs_give_the_tokens_of_a_run_alone(string family)
    {
        int[] lengths = [3, 17, 70, 33, 150, 5, 64, 48, 21, 90];
        int[][] alone = new int[lengths.Length][];
        using (TestEngine engine = new(family, TestEngine.Options() with { MaxBatchedTokens = 512, PrefixCaching = false }))
        {
            for (int i = 0; i < lengths.Length; i++)
                alone[i] = await engine.Tokens(engine.Prompt(lengths[i], i), TestEngine.Greedy(30));
        }
        foreach (EngineOptions options in new[]
        {
            TestEngine.Options(),                                                           // batched, chunked
            TestEngine.Options() with { MaxBatchedTokens = 9, MaxSequences = 3 },           // small chunks
            TestEngine.Options() with { NumBlocksOverride = 14, PrefixCaching = false },    // too few blocks: preempted
            TestEngine.Options() with { NumBlocksOverride = 14 },
        })
        {
            using TestEngine engine = new(family, options);
            for (int round = 0; round < 2; round++) // the second finds prefixes in the cache
            {
                Task<int[]>[] runs = [.. lengths.Select((length, i) => engine.Tokens(engine.Prompt(length, i), TestEngine.Greedy(30)))];
                int[][] together = await Task.WhenAll(runs);
                for (int i = 0; i < lengths.Length; i++)
                    Assert.Equal(alone[i], together[i]);
            }
            await engine.Idle();
            Assert.Equal(options.NumBlocksOverride == 14, engine.Metrics.Preemptions > 0);
            Assert.Equal(options.PrefixCaching && options.NumBlocksOverride > 14, engine.Metrics.PrefixHits > 0 && options.NumBlocksOverride > 14);
        }
    }

    [Fact]
    public async Task A_repeated_prompt_comes_from_the_cache_except_its_last_tokens_and_salts_are_kept_apart()
    {
        using TestEngine engine = new();
        int[] prompt = engine.Prompt(64, 1);
        int[] first = await engine.Tokens(prompt, TestEngine.Greedy(5));
        List<OutputDelta> second = await engine.Run(prompt, TestEngine.Greedy(5));
        Assert.Equal(first, TestEngine.Tokens(second));
        Assert.Equal(48, second[^1].CachedTokens); // the fourth block's last token must be computed
        Assert.Equal(0, (await engine.Run(prompt, TestEngine.Greedy(5), "other"))[^1].CachedTokens);
        await engine.Idle();
        Assert.True(await engine.Shell.ResetPrefixCacheAsync());
        Assert.Equal(0, (await engine.Run(prompt, TestEngine.Greedy(5)))[^1].CachedTokens);
    }

    [Fact]
    public async Task Blocks_that_are_used_again_and_evicted_are_counted()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { NumBlocksOverride = 8 });
        int[] prompt = engine.Prompt(64, 1);
        await engine.Run(prompt, TestEngine.Greedy(2));
        Assert.Equal((0, 0), (Count(engine.Metrics.BlockReuseGap), Count(engine.Metrics.BlockLifetime)));
        await engine.Run(prompt, TestEngine.Greedy(2));
        Assert.Equal(3, Count(engine.Metrics.BlockReuseGap)); // the fourth block is computed again
        await engine.Run(engine.Prompt(120, 2), TestEngine.Greedy(2));
        // The first prompt's four blocks made room: eight blocks were needed, and no others were known.
        Assert.Equal((4, 4), (Count(engine.Metrics.BlockLifetime), Count(engine.Metrics.BlockIdle)));
        Assert.True(engine.Metrics.BlockLifetime.Sum >= engine.Metrics.BlockIdle.Sum);
        static long Count(Histogram histogram) => histogram.Counts().Sum();
    }

    [Fact]
    public async Task Seeds_give_the_same_tokens_in_every_batch_and_choices_differ()
    {
        using TestEngine engine = new();
        int[] prompt = engine.Prompt(20, 2);
        SamplingParameters sampling = new() { Seed = 7, Temperature = 1.5, MaxTokens = 20, IgnoreEos = true, Detokenize = false };
        int[] alone = await engine.Tokens(prompt, sampling);
        Task<List<OutputDelta>>[] runs = [.. Enumerable.Range(0, 6).Select(i => engine.Run(prompt, sampling with { Seed = i < 3 ? 7 : i, N = i == 5 ? 3 : 1 }))];
        List<OutputDelta>[] together = await Task.WhenAll(runs);
        for (int i = 0; i < 3; i++)
            Assert.Equal(alone, TestEngine.Tokens(together[i]));
        Assert.NotEqual(alone, TestEngine.Tokens(together[3]));
        int[][] choices = [.. Enumerable.Range(0, 3).Select(choice => TestEngine.Tokens(together[5], choice))];
        Assert.All(choices, choice => Assert.Equal(20, choice.Length));
        Assert.Equal(3, choices.Select(choice => string.Join(',', choice)).Distinct().Count());
        Assert.Equal(3, together[5].Count(delta => delta.FinishReason == "length"));
    }

    [Fact]
    public async Task Log_probabilities_belong_to_the_tokens()
    {
        using TestEngine engine = new();
        int[] prompt = engine.Prompt(40, 3);
        List<OutputDelta> deltas = await engine.Run(prompt, TestEngine.Greedy(6) with { Logprobs = 3, PromptLogprobs = 2 });
        TokenLogprob[] generated = [.. deltas.SelectMany(delta => delta.Logprobs!)];
        Assert.Equal(TestEngine.Tokens(deltas), generated.Select(entry => entry.Id));
        Assert.All(generated, entry =>
        {
            Assert.Equal(1, entry.Rank);
            Assert.Equal((entry.Id, entry.Logprob), entry.Top[0]);
            Assert.Equal(3, entry.Top.Count);
            Assert.True(entry.Logprob <= 0 && entry.Top[1].Logprob <= entry.Logprob && entry.Top[2].Logprob <= entry.Top[1].Logprob);
        });
        IReadOnlyList<TokenLogprob?> scored = deltas[0].PromptLogprobs!;
        Assert.Equal(40, scored.Count);
        Assert.Null(scored[0]);
        Assert.Equal(prompt[1..], scored.Skip(1).Select(entry => entry!.Id));
        // What the model says of a prompt token is what it says of the same token when generated.
        List<OutputDelta> whole = await engine.Run([.. prompt, .. TestEngine.Tokens(deltas)], TestEngine.Greedy(1) with { PromptLogprobs = 0 });
        for (int i = 0; i < 6; i++)
            Assert.Equal(generated[i].Logprob, whole[0].PromptLogprobs![40 + i]!.Logprob, 4);
    }

    [Fact]
    public async Task Texts_end_where_they_should()
    {
        using TestEngine engine = new();
        int[] prompt = engine.Prompt(10, 4);
        int[] tokens = await engine.Tokens(prompt, TestEngine.Greedy(12));
        int stop = tokens[5], first = Array.IndexOf(tokens, stop);
        List<OutputDelta> stopped = await engine.Run(prompt, TestEngine.Greedy(12) with { StopTokenIds = [stop] });
        Assert.Equal(tokens[..(first + 1)], TestEngine.Tokens(stopped));
        Assert.Equal(("stop", stop), (stopped[^1].FinishReason, stopped[^1].StopReason));
        int[] longer = await engine.Tokens(prompt, TestEngine.Greedy(12) with { StopTokenIds = [stop], MinTokens = 9 });
        Assert.True(longer.Length >= 9);
        Assert.DoesNotContain(stop, longer[..8]);
        int[] banned = await engine.Tokens(prompt, TestEngine.Greedy(12) with { LogitBias = [(tokens[0], -100)] });
        Assert.NotEqual(tokens[0], banned[0]);
        List<OutputDelta> full = await engine.Run(prompt, TestEngine.Greedy(12) with { MaxTokens = null });
        Assert.Equal(("length", 512 - 10), (full[^1].FinishReason, full[^1].CompletionTokens));
    }

    [Fact]
    public async Task Two_hundred_requests_with_random_aborts_leave_nothing_behind()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { NumBlocksOverride = 64 });
        for (int round = 0; round < 10; round++)
        {
            Random random = new(round);
            Task[] clients = [.. Enumerable.Range(0, 200).Select(async i =>
            {
                Generation generation = engine.Submit(engine.Prompt(1 + i % 60, i % 9), TestEngine.Greedy(1 + i % 12) with { N = 1 + i % 3 });
                int patience = random.Next(0, 20);
                await foreach (OutputDelta delta in generation)
                    if (patience-- == 0)
                        break;
            })];
            await Task.WhenAll(clients).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            await engine.Idle();
        }
    }

    [Fact]
    public void An_abort_frees_everything_within_one_step()
    {
        using TestEngine engine = new(threaded: false);
        Generation generation = engine.Submit(engine.Prompt(100, 1), TestEngine.Greedy(50));
        for (int i = 0; i < 6; i++)
            engine.Shell.Group.Step();
        Assert.True(engine.Metrics.CacheUsage > 0);
        generation.Dispose();
        engine.Shell.Group.Step();
        Assert.Equal((0.0, 0, 0), (engine.Metrics.CacheUsage, engine.Metrics.Running, engine.Shell.Unfinished));
    }

    [Fact]
    public void What_can_never_be_served_is_refused()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { NumBlocksOverride = 8 });
        void Refused(string param, int[] prompt, SamplingParameters sampling) =>
            Assert.Equal(param, Assert.Throws<InvalidRequestException>(() => engine.Submit(prompt, sampling)).Param);
        Refused("prompt", [], TestEngine.Greedy(1));
        Refused("prompt", new int[512], TestEngine.Greedy(1));
        Refused("prompt", [engine.Model.Config.VocabularySize], TestEngine.Greedy(1));
        Refused("prompt", [-1], TestEngine.Greedy(1));
        Refused("max_tokens", new int[500], TestEngine.Greedy(13));
        Refused("max_tokens", new int[100], TestEngine.Greedy(100)); // more than the cache holds
        Refused("max_tokens", [1], TestEngine.Greedy(0));
        Refused("temperature", [1], TestEngine.Greedy(1) with { Temperature = double.NaN });
        Refused("top_p", [1], TestEngine.Greedy(1) with { TopP = 0 });
        Refused("n", [1], TestEngine.Greedy(1) with { N = 65 });
        Refused("stop_token_ids", [1], TestEngine.Greedy(1) with { StopTokenIds = new int[65] });
        Refused("logprobs", [1], TestEngine.Greedy(1) with { Logprobs = 21 });
        Refused("logit_bias", [1], TestEngine.Greedy(1) with { LogitBias = [(1, float.NaN)] });
        Assert.Throws<ArgumentException>(() => (TestEngine.Options() with { MaxBatchedTokens = 4 }).Validate());
        Assert.Throws<ArgumentException>(() => (TestEngine.Options() with { BlockSize = 24 }).Validate());
    }

    [Fact]
    public async Task An_engine_that_drains_while_requests_come_ends_all_that_it_takes()
    {
        TestEngine engine = new(options: TestEngine.Options() with { QueueLimit = 1, MaxSequences = 2 });
        using ManualResetEventSlim drained = new();
        Task<int>[] clients = [.. Enumerable.Range(0, 6).Select(client => Task.Factory.StartNew(() =>
        {
            List<Generation> taken = [];
            for (bool open = true; open;)
            {
                bool last = drained.IsSet;
                try
                {
                    taken.Add(engine.Submit([1, 2, 3], TestEngine.Greedy(8)));
                }
                catch (QueueFullException)
                {
                    open = !last;
                }
            }
            return taken.Count(generation => TestEngine.Tokens(TestEngine.Read(generation).GetAwaiter().GetResult()).Length != 8);
        }, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        await Task.Delay(50, TestContext.Current.CancellationToken);
        Assert.True(await engine.Shell.DrainAsync(TimeSpan.FromSeconds(30)));
        engine.Dispose();
        drained.Set();
        Assert.All(await Task.WhenAll(clients), cut => Assert.Equal(0, cut));
        Assert.Equal(0, engine.Shell.Unfinished);
    }

    [Fact]
    public async Task A_full_queue_refuses_and_a_drained_engine_finishes_what_runs()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { MaxSequences = 1, QueueLimit = 2 });
        Generation[] accepted = [.. Enumerable.Range(0, 3).Select(i => engine.Submit([1, 2], TestEngine.Greedy(60)))];
        Assert.Throws<QueueFullException>(() => engine.Submit([1], TestEngine.Greedy(1)));
        Assert.Equal(1, engine.Shell.Rejections);
        Task<List<OutputDelta>>[] readers = [.. accepted.Select(TestEngine.Read)];
        Assert.True(await engine.Shell.DrainAsync(TimeSpan.FromSeconds(60)));
        Assert.All(await Task.WhenAll(readers), deltas => Assert.Equal("length", deltas[^1].FinishReason));
        Assert.Throws<QueueFullException>(() => engine.Submit([1], TestEngine.Greedy(1)));
    }
}
