using XDeepServe.FlowServe.DistFlow;
using XDeepServe.FlowServe.Speculating;

namespace XDeepServe.FlowServe.Tests.DistFlow;

using DistFlow = XDeepServe.FlowServe.DistFlow.DistFlow;

/// <summary>Two engines in this process, joined by a real link over shared memory.</summary>
public sealed class DistFlowTests
{
    [Theory]
    [InlineData("qwen3", 16, 16, false)]
    [InlineData("qwen3", 4, 8, true)]
    [InlineData("deepseek_v3", 16, 4, false)]
    [InlineData("mistral_random", 2, 32, true)]
    public async Task What_was_prefilled_here_is_decoded_there_with_the_same_tokens(string family, int blockSize, int otherSize, bool betweenSteps)
    {
        using Pair pair = new(family, blockSize, otherSize, betweenSteps: betweenSteps);
        int[] lengths = [1, 5, 64, 33, 150, 17, 97, 16];
        int[][] alone = new int[lengths.Length][];
        for (int i = 0; i < lengths.Length; i++)
            alone[i] = await pair.Prefill.Tokens(pair.Prefill.Prompt(lengths[i], i), TestEngine.Greedy(12));
        await Task.WhenAll(lengths.Select(async (length, i) => Assert.Equal(alone[i], await pair.RunAsync(pair.Prefill.Prompt(length, i), TestEngine.Greedy(12)))));
        await pair.Idle();
        Assert.Equal((lengths.Length, 0), (pair.Target.Metrics.Transfers, pair.Target.Metrics.Failures));
        Assert.Equal(lengths.Sum() * (long)pair.Decode.Shell.Group.Port.BytesPerPosition, pair.Target.Metrics.ReceivedBytes);
        Assert.Equal(pair.Target.Metrics.ReceivedBytes, pair.Source.Metrics.SentBytes);
        // What the second engine knows already is not pulled again.
        Assert.Equal(alone[4], await pair.RunAsync(pair.Prefill.Prompt(150, 4), TestEngine.Greedy(12)));
        await pair.Idle();
        long again = pair.Target.Metrics.ReceivedBytes - lengths.Sum() * (long)pair.Decode.Shell.Group.Port.BytesPerPosition;
        Assert.Equal(150 - 150 / otherSize * otherSize, again / pair.Decode.Shell.Group.Port.BytesPerPosition);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Who_decodes_drafts_as_well_as_who_has_read_the_prompt(bool betweenSteps)
    {
        SpeculationOptions proposals = new() { Tokens = 2, DisableBySequences = 1000 };
        int[] lengths = [5, 64, 33, 150, 17, 97];
        int[][] alone = new int[lengths.Length][];
        SpeculationMetrics whole;
        using (TestEngine engine = new("nano-moe", TestEngine.Options() with { Speculation = proposals }))
        {
            for (int i = 0; i < lengths.Length; i++)
                alone[i] = await engine.Tokens(engine.Prompt(lengths[i], i), TestEngine.Greedy(40));
            whole = engine.Metrics.Speculation!;
        }
        using (TestEngine plain = new("nano-moe"))
            for (int i = 0; i < lengths.Length; i++)
                Assert.Equal(alone[i], await plain.Tokens(plain.Prompt(lengths[i], i), TestEngine.Greedy(40)));
        using Pair pair = new("nano-moe", 16, 16, betweenSteps: betweenSteps, speculation: proposals);
        for (int i = 0; i < lengths.Length; i++)
            Assert.Equal(alone[i], await pair.RunAsync(pair.Prefill.Prompt(lengths[i], i), TestEngine.Greedy(40)));
        await pair.Idle();
        Assert.Equal((lengths.Length, 0), (pair.Target.Metrics.Transfers, pair.Target.Metrics.Failures));
        // The module's keys and values come with the model's; only what was drafted behind the prompt is not there.
        SpeculationMetrics there = pair.Decode.Metrics.Speculation!;
        Assert.InRange((double)there.AcceptedTokens / there.DraftTokens, 0.97 * whole.AcceptedTokens / whole.DraftTokens, 1);
    }

    [Fact]
    public async Task A_draft_model_reads_prompts_that_were_computed_elsewhere()
    {
        using Pair pair = new("nano-moe", 16, 32, speculation: new SpeculationOptions { Method = SpeculationMethod.DraftModel, Tokens = 3, DisableBySequences = 1000 });
        using TestEngine plain = new("nano-moe");
        int[][] prompts = [.. new[] { 5, 64, 33, 17, 300, 97 }.Select((length, i) => plain.Prompt(length, i))];
        int[][] expected = new int[prompts.Length][];
        for (int i = 0; i < prompts.Length; i++)
            expected[i] = await plain.Tokens(prompts[i], TestEngine.Greedy(40));
        SpeculationMetrics there = pair.Decode.Metrics.Speculation!;
        for (int i = 0; i < 4; i++)
            Assert.Equal(expected[i], await pair.RunAsync(prompts[i], TestEngine.Greedy(40)));
        await pair.Idle();
        Assert.Equal(4, pair.Target.Metrics.Transfers);
        // The draft model is the model itself: what it has seen whole it drafts right.
        Assert.Equal(there.DraftTokens, there.AcceptedTokens);
        Assert.True(there.Drafts > 30);
        // More than there is room for in a step; some of it is in the prefix cache, where it was seen. Until it has read all, it drafts badly.
        int[][] answers = await Task.WhenAll(prompts.Select(prompt => pair.RunAsync(prompt, TestEngine.Greedy(40))));
        Assert.Equal(expected, answers);
        await pair.Idle();
        Assert.InRange((double)there.AcceptedTokens / there.DraftTokens, 0.7, 1);
    }

    [Fact]
    public async Task A_ticket_whose_hold_is_gone_or_whose_owner_is_not_there_only_costs_computing()
    {
        using Pair pair = new("qwen3", 16, 16);
        int[] prompt = pair.Prefill.Prompt(60, 1);
        int[] whole = await pair.Prefill.Tokens(prompt, TestEngine.Greedy(6));
        foreach (KvTicket ticket in new[] { new KvTicket(pair.SourceName, 0, 999, 60), new KvTicket(pair.SourceName, 7, 1, 60), new KvTicket($"{pair.SourceName}_nobody", 0, 1, 60) })
        {
            Gathered rest = new();
            pair.Decode.Shell.Submit(new GenerationRequest { Id = "r", Prompt = prompt, Sampling = TestEngine.Greedy(6), Produced = [whole[0]], Ticket = ticket, CacheSalt = ticket.ToString() }, rest);
            Assert.Equal("length", await rest.End);
            Assert.Equal(whole[1..], rest.Tokens);
        }
        Assert.Equal((0, 3), (pair.Target.Metrics.Transfers, pair.Target.Metrics.Failures));
        await pair.Idle();
    }

    [Fact]
    public async Task Aborts_at_every_stage_leave_nothing_behind()
    {
        using Pair pair = new("qwen3", 16, 4, blocks: 64);
        await Task.WhenAll(Enumerable.Range(0, 300).Select(async i =>
        {
            Random random = new(i);
            Gathered begun = new(), rest = new();
            int[] prompt = pair.Prefill.Prompt(1 + random.Next(90), i % 7);
            Submission first = pair.Prefill.Shell.Submit(Pair.Request(prompt, TestEngine.Greedy(8)) with { HandOverAfter = 1 }, begun);
            if (random.Next(4) == 0)
            {
                await Task.Delay(random.Next(3));
                first.Abort();
                if (await Task.WhenAny(begun.Ended.Task, begun.HandedOver.Task) == begun.Ended.Task)
                    return;
            }
            KvTicket ticket = pair.Ticket(await begun.Hold);
            if (random.Next(5) == 0)
            {
                // Nobody decodes it: released by hand or by the end of its lease.
                if (random.Next(2) == 0)
                    pair.Target.Release(ticket);
                return;
            }
            Submission second = pair.Decode.Shell.Submit(Pair.Request(prompt, TestEngine.Greedy(8)) with { Produced = [.. begun.Tokens], Ticket = ticket }, rest);
            if (random.Next(3) == 0)
            {
                await Task.Delay(random.Next(4));
                second.Abort();
            }
            Assert.Contains(await rest.End, new[] { "length", "abort" });
        }));
        await pair.Idle();
        Assert.Equal(0, pair.Target.Metrics.UnderWay);
    }

    [Fact]
    public async Task Probes_tell_a_link_that_answers_from_one_that_does_not()
    {
        using Pair pair = new("qwen3", 16, 16);
        Assert.Equal(LinkHealth.Good, await pair.Target.ProbeAsync(pair.SourceName, TimeSpan.FromSeconds(20)));
        Assert.Equal(LinkHealth.Blocked, await pair.Target.ProbeAsync($"{pair.SourceName}_nobody", TimeSpan.FromMilliseconds(300)));
    }

    [Fact]
    public async Task Links_to_names_that_nobody_bears_are_not_kept()
    {
        using TestEngine engine = new();
        using DistFlow flow = new(engine.Shell, "alone", (_, _, _) => throw new IOException("There is nobody."));
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal(LinkHealth.Blocked, await flow.ProbeAsync($"nobody{i}", TimeSpan.FromSeconds(20)));
            Assert.Equal(1, flow.Links);
        }
    }

    private sealed class Pair : IDisposable
    {
        public Pair(string family, int blockSize, int otherSize, int blocks = 128, bool betweenSteps = false, SpeculationOptions? speculation = null)
        {
            EngineOptions options = TestEngine.Options() with { HoldLease = TimeSpan.FromSeconds(6), Speculation = speculation };
            Prefill = new TestEngine(family, options with { BlockSize = blockSize, NumBlocksOverride = blocks * 16 / blockSize });
            Decode = new TestEngine(family, options with { BlockSize = otherSize, NumBlocksOverride = blocks * 16 / otherSize });
            SourceName = $"p{Environment.ProcessId}_{Guid.NewGuid():N}"[..20];
            LinkOptions links = new() { ChunkBytes = 4992, CopyBetweenSteps = betweenSteps, Patience = TimeSpan.FromSeconds(20) };
            Source = new DistFlow(Prefill.Shell, SourceName, (_, _, _) => Task.CompletedTask, links);
            Target = new DistFlow(Decode.Shell, $"d{SourceName}", Invite, links);
        }

        public TestEngine Prefill { get; }

        public TestEngine Decode { get; }

        public DistFlow Source { get; }

        public DistFlow Target { get; }

        public string SourceName { get; }

        public static GenerationRequest Request(int[] prompt, SamplingParameters sampling) => new() { Id = "pair", Prompt = prompt, Sampling = sampling };

        public KvTicket Ticket(KvHold hold) => new(SourceName, hold.Group, hold.Number, hold.Positions);

        public async Task<int[]> RunAsync(int[] prompt, SamplingParameters sampling)
        {
            Gathered begun = new(), rest = new();
            Prefill.Shell.Submit(Request(prompt, sampling) with { HandOverAfter = 1 }, begun);
            KvHold hold = await begun.Hold;
            Decode.Shell.Submit(Request(prompt, sampling) with { Produced = [.. begun.Tokens], Ticket = Ticket(hold) }, rest);
            Assert.Equal("length", await rest.End);
            return [.. begun.Tokens, .. rest.Tokens];
        }

        public async Task Idle()
        {
            await Prefill.Idle();
            await Decode.Idle();
            Assert.Equal(0, Prefill.Shell.Group.Holds.Count);
        }

        public void Dispose()
        {
            Target.Dispose();
            Source.Dispose();
            Prefill.Dispose();
            Decode.Dispose();
            Assert.Empty(Directory.GetFiles("/dev/shm", $"xccl-{Target.LinkName(SourceName, 1)[..^1]}*"));
        }

        private Task Invite(string owner, string name, CancellationToken cancel)
        {
            if (owner != SourceName)
                return Task.FromException(new InvalidOperationException($"There is no Task Executor {owner}."));
            Source.Serve(name);
            return Task.CompletedTask;
        }
    }
}
