using XDeepServe.FlowServe.Speculating;

namespace XDeepServe.FlowServe.Tests;

public sealed class SpeculationTests
{
    private static readonly int[] Lengths = [3, 17, 70, 33, 150, 5, 64];

    public static TheoryData<SpeculationMethod, int> Proposers => new()
    {
        { SpeculationMethod.DraftModule, 1 },
        { SpeculationMethod.DraftModule, 3 },
        { SpeculationMethod.PromptLookup, 4 },
        { SpeculationMethod.DraftModel, 2 },
    };

    [Theory]
    [MemberData(nameof(Proposers))]
    public async Task Whatever_is_proposed_the_tokens_are_those_without_proposals(SpeculationMethod method, int tokens)
    {
        int[][] greedy = new int[Lengths.Length][], sampled = new int[Lengths.Length][];
        using (TestEngine engine = new("nano-moe", TestEngine.Options() with { MaxBatchedTokens = 512, PrefixCaching = false }))
        {
            for (int i = 0; i < Lengths.Length; i++)
            {
                greedy[i] = await engine.Tokens(Prompt(engine, i), TestEngine.Greedy(24));
                sampled[i] = await engine.Tokens(Prompt(engine, i), Sampled(24, i));
            }
        }
        EngineOptions plain = TestEngine.Options() with { Speculation = Always(method, tokens) };
        foreach (EngineOptions options in new[]
        {
            plain with { MaxBatchedTokens = 512, PrefixCaching = false },                 // prompts in one piece
            plain,                                                                        // batched, chunked
            plain with { MaxBatchedTokens = 18, MaxSequences = 3 },                       // small chunks
            plain with { NumBlocksOverride = 12, PrefixCaching = false },                 // too few blocks: preempted
        })
        {
            using TestEngine engine = new("nano-moe", options);
            for (int round = 0; round < 2; round++) // the second finds prefixes in the cache
            {
                // Draws fall on the other side of a border more easily than best tokens change: only where the formulas are the same.
                bool draws = round == 1 && options.MaxBatchedTokens == 512;
                int[][] together = await Task.WhenAll(Lengths.Select((_, i) => engine.Tokens(Prompt(engine, i), draws ? Sampled(24, i) : TestEngine.Greedy(24))));
                for (int i = 0; i < Lengths.Length; i++)
                    Assert.Equal(draws ? sampled[i] : greedy[i], together[i]);
            }
            await engine.Idle();
            Assert.Equal(options.NumBlocksOverride == 12, engine.Metrics.Preemptions > 0);
            SpeculationMetrics found = engine.Metrics.Speculation!;
            Assert.InRange(found.AcceptedTokens, 1, found.DraftTokens);
            Assert.Equal(found.AcceptedTokens, found.AcceptedByPlace.Sum());
            Assert.InRange(found.DraftTokens, found.Drafts, tokens * found.Drafts);
        }
    }

    [Theory]
    [InlineData(SpeculationMethod.DraftModule)]
    [InlineData(SpeculationMethod.DraftModel)]
    [InlineData(SpeculationMethod.PromptLookup)]
    public async Task Proposals_come_and_go_with_the_batch_and_change_nothing(SpeculationMethod method)
    {
        int[] limits = [70, 60, 9, 14, 5, 11, 7];
        int[][] alone = new int[limits.Length][];
        using (TestEngine engine = new("nano-moe"))
            for (int i = 0; i < limits.Length; i++)
                alone[i] = await engine.Tokens(Prompt(engine, i), TestEngine.Greedy(limits[i]));
        using TestEngine some = new("nano-moe", TestEngine.Options() with { Speculation = Always(method, 3) with { DisableBySequences = 4 } }, threaded: false);
        Generation[] generations = [.. Enumerable.Range(0, 2).Select(Submit)];
        List<int> proposing = [];
        for (int turn = 0; turn < 400 && some.Shell.Unfinished > 0; turn++)
        {
            if (turn is 8 or 9 or 10 or 20 or 21) // two run and propose; then so many that they do not; then two again
                generations = [.. generations, Submit(generations.Length)];
            long before = some.Metrics.Speculation!.Drafts;
            some.Shell.Group.Step();
            proposing.Add((int)(some.Metrics.Speculation.Drafts - before));
        }
        for (int i = 0; i < limits.Length; i++)
            Assert.Equal(alone[i], TestEngine.Tokens(await TestEngine.Read(generations[i])));
        int[] on = [.. Enumerable.Range(0, proposing.Count).Where(turn => proposing[turn] > 0)];
        bool apart = on.Zip(on.Skip(1)).Any(pair => pair.Second > pair.First + 3);
        Assert.True(on.Length > 3 && (method == SpeculationMethod.PromptLookup || (on[0] < 8 && on[^1] > 22 && apart)), string.Join(' ', proposing));

        Generation Submit(int i) => some.Submit(Prompt(some, i), TestEngine.Greedy(limits[i]));
    }

    [Fact]
    public async Task A_model_that_drafts_for_itself_is_always_right()
    {
        using TestEngine engine = new("nano-moe", TestEngine.Options() with { Speculation = Always(SpeculationMethod.DraftModel, 3), MaxBatchedTokens = 64 });
        await Task.WhenAll(Enumerable.Range(0, 3).Select(i => engine.Tokens(Prompt(engine, i), TestEngine.Greedy(40))));
        await engine.Idle();
        Assert.Equal(engine.Metrics.Speculation!.DraftTokens, engine.Metrics.Speculation.AcceptedTokens);
        Assert.True(engine.Metrics.Speculation.Drafts > 20);
    }

    [Fact]
    public async Task Sampled_tokens_have_the_models_distribution()
    {
        const int Vocabulary = 16, Draws = 6000;
        using TestEngine engine = new("deepseek_draft_random", TestEngine.Options() with { Speculation = Always(SpeculationMethod.DraftModule, 2), QueueLimit = 1 << 14 });
        int[] prompt = engine.Prompt(9, 5);
        SamplingParameters sampling = new() { Temperature = 0.4, MaxTokens = 12, IgnoreEos = true, Detokenize = false };
        // What the model says of every first token, and of every second one behind it.
        double[] first = await Probabilities(engine, prompt), second = new double[Vocabulary];
        double[][] behind = new double[Vocabulary][];
        for (int token = 0; token < Vocabulary; token++)
            behind[token] = await Probabilities(engine, [.. prompt, token]);
        int[,] pairs = new int[Vocabulary, Vocabulary];
        for (int start = 0; start < Draws; start += 500)
            foreach (int[] tokens in await Task.WhenAll(Enumerable.Range(start, 500).Select(seed => engine.Tokens(prompt, sampling with { Seed = seed }))))
                pairs[tokens[0], tokens[1]]++;
        double chi = 0;
        int cells = 0;
        (double restExpected, int restSeen) = (0, 0);
        for (int one = 0; one < Vocabulary; one++)
            for (int two = 0; two < Vocabulary; two++)
            {
                double expected = Draws * first[one] * behind[one][two];
                if (expected < 5)
                {
                    (restExpected, restSeen) = (restExpected + expected, restSeen + pairs[one, two]);
                    continue;
                }
                chi += (pairs[one, two] - expected) * (pairs[one, two] - expected) / expected;
                cells++;
            }
        chi += (restSeen - restExpected) * (restSeen - restExpected) / Math.Max(1, restExpected);
        Assert.True(cells > 30, $"{cells} cells");
        Assert.True(chi < cells + 4 * Math.Sqrt(2.0 * cells), $"chi-square {chi:F1} with {cells} degrees of freedom");
        SpeculationMetrics found = engine.Metrics.Speculation!;
        Assert.InRange(found.AcceptedTokens, found.DraftTokens / 50, found.DraftTokens); // some stood, some did not
        Assert.NotEqual(found.AcceptedTokens, found.DraftTokens);

        async Task<double[]> Probabilities(TestEngine engine, int[] prompt)
        {
            List<OutputDelta> deltas = await engine.Run(prompt, TestEngine.Greedy(1) with { Logprobs = Vocabulary });
            double[] weights = new double[Vocabulary];
            foreach ((int id, float logprob) in deltas[0].Logprobs![0].Top)
                weights[id] = Math.Exp(logprob / 0.4);
            double sum = weights.Sum();
            return [.. weights.Select(weight => weight / sum)];
        }
    }

    [Fact]
    public async Task A_stop_token_among_accepted_ones_ends_the_answer_there()
    {
        using TestEngine engine = new("nano-moe", TestEngine.Options() with { Speculation = Always(SpeculationMethod.DraftModel, 4) });
        int[] prompt = Prompt(engine, 2), whole = await engine.Tokens(prompt, TestEngine.Greedy(30));
        for (int place = 1; place < 12; place++)
        {
            int stop = Array.IndexOf(whole, whole[place]);
            List<OutputDelta> deltas = await engine.Run(prompt, TestEngine.Greedy(30) with { StopTokenIds = [whole[place]] });
            Assert.Equal(whole[..(stop + 1)], TestEngine.Tokens(deltas));
            Assert.Equal("stop", deltas[^1].FinishReason);
        }
        await engine.Idle();
    }

    [Fact]
    public async Task Logprobs_of_accepted_tokens_are_those_without_proposals()
    {
        List<TokenLogprob[]> found = [];
        foreach (SpeculationOptions? speculation in new[] { null, Always(SpeculationMethod.DraftModule, 2) })
        {
            using TestEngine engine = new("nano-moe", TestEngine.Options() with { Speculation = speculation });
            List<OutputDelta> deltas = await engine.Run(Prompt(engine, 1), TestEngine.Greedy(20) with { Logprobs = 2 });
            found.Add([.. deltas.SelectMany(delta => delta.Logprobs!)]);
        }
        Assert.Equal(20, found[0].Length);
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal((found[0][i].Id, found[0][i].Rank), (found[1][i].Id, found[1][i].Rank));
            Assert.Equal(found[0][i].Logprob, found[1][i].Logprob, 1e-3f);
        }
    }

    [Theory]
    [MemberData(nameof(Proposers))]
    public async Task Penalties_are_the_same_with_proposals(SpeculationMethod method, int tokens)
    {
        using TestEngine plain = new("nano-moe"), proposing = new("nano-moe", TestEngine.Options() with { Speculation = Always(method, tokens) });
        for (int i = 0; i < Lengths.Length; i++)
        {
            // Tokens come again in spite of such penalties, so that lookups find some.
            SamplingParameters sampling = TestEngine.Greedy(40) with { RepetitionPenalty = 1 + (0.02 * i), FrequencyPenalty = 0.05 * i, PresencePenalty = i == 2 ? -0.4 : 0.01 };
            Assert.Equal(await plain.Tokens(Prompt(plain, i), sampling), await proposing.Tokens(Prompt(plain, i), sampling));
        }
        Assert.InRange(proposing.Metrics.Speculation!.AcceptedTokens, 1, proposing.Metrics.Speculation.DraftTokens);
    }

    [Fact]
    public void Lookup_proposes_what_followed_the_longest_repetition()
    {
        PromptLookup lookup = new(3, least: 2, most: 4);
        int[] proposed = new int[8];
        Assert.Equal(3, lookup.Propose([7, 1, 2, 3, 4, 5, 9, 2, 3], proposed)); // 2 3 stood before
        Assert.Equal([4, 5, 9], proposed[..3]);
        Assert.Equal(2, lookup.Propose([1, 2, 8, 8, 0, 1, 2, 9, 1, 2], proposed.AsSpan(0, 2))); // the latest place, as many as there is room for
        Assert.Equal([9, 1], proposed[..2]);
        Assert.Equal(3, lookup.Propose([6, 1, 2, 5, 5, 1, 2, 7, 7, 6, 1, 2], proposed)); // three tokens again before two
        Assert.Equal([5, 5, 1], proposed[..3]);
        Assert.Equal(1, lookup.Propose([4, 4, 4], proposed)); // it may overlap itself
        Assert.Equal(0, lookup.Propose([1, 2, 3, 4], proposed));
        Assert.Equal(0, lookup.Propose([1], proposed));
    }

    [Theory]
    [InlineData(4, 1.5, 1.2, true)]
    [InlineData(4, 1.5, 1.8, false)]
    [InlineData(64, 1.9, 1.5, true)]
    public void The_gate_does_what_is_faster_and_tries_the_other_now_and_then(int sequences, double tokens, double cost, bool expected)
    {
        SpeculationGate gate = new(limit: null);
        int on = 0;
        for (int step = 0; step < 3000; step++)
        {
            bool proposes = gate.Decide(sequences);
            gate.Observe(sequences, proposes, (int)(sequences * (proposes ? tokens : 1)), proposes ? cost : 1);
            on += step >= 1000 && proposes ? 1 : 0;
        }
        Assert.InRange(on, expected ? 1900 : 20, expected ? 1980 : 100);
        SpeculationGate limited = new(limit: 8);
        Assert.True(limited.Decide(7));
        Assert.False(limited.Decide(8));
    }

    [Fact]
    public void Impossible_settings_are_refused()
    {
        EngineOptions options = TestEngine.Options();
        Assert.Throws<ArgumentException>(() => new TestEngine("qwen3", options with { Speculation = Always(SpeculationMethod.DraftModule, 1) }));
        Assert.Throws<ArgumentException>(() => new TestEngine("qwen3", options with { Speculation = Always(SpeculationMethod.PromptLookup, 0) }));
        Assert.Throws<ArgumentException>(() => new TestEngine("qwen3", options with { Speculation = Always(SpeculationMethod.PromptLookup, 8) })); // 64 tokens a step for 8 sequences
    }

    private static SpeculationOptions Always(SpeculationMethod method, int tokens) => new() { Method = method, Tokens = tokens, DisableBySequences = int.MaxValue };

    private static SamplingParameters Sampled(int tokens, int seed) => TestEngine.Greedy(tokens) with { Temperature = 0.8, TopP = 0.95, TopK = 40, Seed = seed };

    /// <summary>Random tokens, with repetitions for lookups.</summary>
    private static int[] Prompt(TestEngine engine, int seed)
    {
        int[] prompt = engine.Prompt(Lengths[seed], seed);
        for (int i = 20; i < prompt.Length; i++)
            prompt[i] = prompt[i % 20];
        return prompt;
    }
}
