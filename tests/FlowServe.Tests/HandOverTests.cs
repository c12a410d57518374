using XDeepServe.Models;

namespace XDeepServe.FlowServe.Tests;

/// <summary>A request that begins in one engine and goes on in another.</summary>
public sealed class HandOverTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    public async Task A_request_that_goes_on_elsewhere_gives_the_tokens_of_one_that_stays(int after)
    {
        using TestEngine first = new();
        using TestEngine second = new(options: TestEngine.Options() with { BlockSize = 4, MaxBatchedTokens = 24 });
        SamplingParameters sampling = new() { Seed = 5, Temperature = 1.2, MaxTokens = 24, IgnoreEos = true, Detokenize = false, RepetitionPenalty = 1.1, PresencePenalty = 0.2 };
        int[] prompt = first.Prompt(37, 3);
        int[] whole = await first.Tokens(prompt, sampling);

        Gathered begun = new();
        first.Shell.Submit(Request(prompt, sampling) with { HandOverAfter = after }, begun);
        KvHold hold = await begun.Hold;
        Assert.Equal(whole[..after], begun.Tokens);
        Assert.Equal(37 + after - 1, hold.Positions);
        Assert.Equal(0, first.Shell.Unfinished);

        Gathered rest = new();
        second.Shell.Submit(Request(prompt, sampling) with { Produced = [.. begun.Tokens] }, rest);
        Assert.Equal("length", await rest.End);
        Assert.Equal(whole[after..], rest.Tokens);
    }

    [Fact]
    public async Task What_is_held_stays_until_it_is_freed_and_its_reader_has_gone()
    {
        using TestEngine engine = new();
        KvHold hold = await Held(engine);
        Assert.True(engine.Metrics.CacheUsage > 0);
        Assert.Same(hold, engine.Shell.Group.Holds.Find(hold.Number));
        Assert.True(hold.TryPin());
        engine.Shell.Group.Post(() => engine.Shell.Group.Holds.Free(hold.Number));
        await engine.Shell.PingAsync();
        Assert.Equal(1, engine.Shell.Group.Holds.Count);
        hold.Unpin();
        await engine.Idle();
        Assert.Equal((0, 0), (engine.Shell.Group.Holds.Count, engine.Shell.Group.Holds.Expired));
        Assert.False(hold.TryPin());
        Assert.Null(engine.Shell.Group.Holds.Find(hold.Number));
    }

    [Fact]
    public async Task What_nobody_fetches_is_freed_when_its_lease_ends()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { HoldLease = TimeSpan.FromMilliseconds(50) });
        await Held(engine);
        await engine.Idle();
        Assert.Equal((0, 1), (engine.Shell.Group.Holds.Count, engine.Shell.Group.Holds.Expired));
    }

    [Fact]
    public async Task Whoever_waits_for_blocks_that_are_held_runs_when_the_lease_ends()
    {
        using TestEngine engine = new(options: TestEngine.Options() with { NumBlocksOverride = 4, HoldLease = TimeSpan.FromMilliseconds(50) });
        await Held(engine);
        Assert.Equal(4, (await engine.Tokens(engine.Prompt(40, 2), TestEngine.Greedy(4))).Length);
        Assert.Equal(1, engine.Shell.Group.Holds.Expired);
    }

    [Fact]
    public void Requests_that_cannot_go_on_are_refused()
    {
        using TestEngine engine = new();
        GenerationRequest request = Request(engine.Prompt(5, 1), TestEngine.Greedy(4));
        Assert.Equal("produced", Refused(request with { Produced = [1, 2, 3, 4] }));
        Assert.Equal("produced", Refused(request with { Produced = [-1] }));
        Assert.Equal("hand_over_after", Refused(request with { HandOverAfter = 0 }));
        Assert.Equal("n", Refused(request with { HandOverAfter = 1, Sampling = request.Sampling with { N = 2 } }));

        // Nobody there takes what is held.
        Assert.Equal("hand_over_after", Assert.Throws<InvalidRequestException>(() => engine.Shell.Submit(request with { HandOverAfter = 1 })).Param);

        string? Refused(GenerationRequest wrong) => Assert.Throws<InvalidRequestException>(() => engine.Shell.Submit(wrong, new Gathered())).Param;
    }

    [Theory]
    [InlineData(null)]
    [InlineData(40)] // the rest is computed
    public async Task Keys_and_values_that_are_brought_in_are_not_computed_again(int? broughtAtMost)
    {
        using TestEngine source = new();
        using TestEngine target = new(options: TestEngine.Options() with { PrefixCaching = false });
        CopySupply supply = new(target, source) { BroughtAtMost = broughtAtMost ?? int.MaxValue };
        target.Shell.Group.AddSupply(supply);
        int[] prompt = source.Prompt(61, 9);
        int[] whole = await source.Tokens(prompt, TestEngine.Greedy(12));
        Gathered begun = new();
        source.Shell.Submit(Request(prompt, TestEngine.Greedy(12)) with { HandOverAfter = 1 }, begun);
        supply.Hold = await begun.Hold;
        Gathered rest = new();
        target.Shell.Submit(Request(prompt, TestEngine.Greedy(12)) with { Produced = [.. begun.Tokens] }, rest);
        Assert.Equal("length", await rest.End);
        Assert.Equal(whole[1..], rest.Tokens);
        Assert.Equal(broughtAtMost ?? 61, supply.Brought);
        await target.Idle();
    }

    [Fact]
    public async Task A_request_that_is_aborted_while_it_arrives_frees_its_blocks_when_the_fetch_has_ended()
    {
        using TestEngine target = new();
        StuckSupply supply = new();
        target.Shell.Group.AddSupply(supply);
        Gathered output = new();
        Submission submission = target.Shell.Submit(Request(target.Prompt(50, 2), TestEngine.Greedy(3)), output);
        await supply.Begun.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        submission.Abort();
        Assert.Equal("abort", await output.End);
        await target.Shell.PingAsync();
        Assert.Equal((1, true), (target.Metrics.Arriving, target.Metrics.CacheUsage > 0));
        supply.End = true;
        target.Shell.Group.Wake();
        await target.Idle();
        Assert.True(supply.Cancelled);
    }

    private static GenerationRequest Request(int[] prompt, SamplingParameters sampling) => new() { Id = "handed-over", Prompt = prompt, Sampling = sampling };

    private static async Task<KvHold> Held(TestEngine engine)
    {
        Gathered output = new();
        engine.Shell.Submit(Request(engine.Prompt(40, 1), TestEngine.Greedy(8)) with { HandOverAfter = 1 }, output);
        return await output.Hold;
    }

    /// <summary>Copies a held request's blocks from one engine's cache into another's, at once.</summary>
    private sealed class CopySupply(TestEngine target, TestEngine source) : IKvSupply
    {
        private readonly Queue<Sequence> done = new();

        public KvHold? Hold { get; set; }

        public int BroughtAtMost { get; init; }

        public int Brought { get; private set; }

        public int Reach(Sequence sequence, int from) => Hold?.Positions ?? 0;

        public void Begin(Sequence sequence, int from, int to)
        {
            Brought = Math.Min(to, BroughtAtMost);
            KvCache from0 = source.Shell.Group.Cache, to0 = target.Shell.Group.Cache;
            for (int place = 0; place < sequence.BlockCount; place++)
                for (int layer = 0; layer < to0.Layout.Layers.Count; layer++)
                    for (int part = 0; part < to0.Layout.Layers[layer].Count; part++)
                        target.Backend.Copy(to0[layer, part].Slice(sequence.Blocks[place], 1), from0[layer, part].Slice(Hold!.Blocks[place], 1));
            Hold = null;
            done.Enqueue(sequence);
            target.Shell.Group.Wake();
        }

        public void Cancel(Sequence sequence)
        {
        }

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            computed = Brought;
            return done.TryDequeue(out sequence!);
        }
    }

    private sealed class StuckSupply : IKvSupply
    {
        private Sequence? arriving;

        public TaskCompletionSource Begun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool Cancelled { get; private set; }

        public bool End { get; set; }

        public int Reach(Sequence sequence, int from) => 49;

        public void Begin(Sequence sequence, int from, int to)
        {
            arriving = sequence;
            Begun.SetResult();
        }

        public void Cancel(Sequence sequence) => Cancelled = true;

        public void Drop(Sequence sequence)
        {
        }

        public bool TryComplete(out Sequence sequence, out int computed)
        {
            (sequence, computed) = (arriving!, 0);
            if (!End || arriving is null)
                return false;
            arriving = null;
            return true;
        }
    }
}
