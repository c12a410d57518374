using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

public sealed class SlowRankTests
{
    [Fact]
    public async Task An_expert_rank_that_sleeps_is_named()
    {
        ConcurrentQueue<string> log = new();
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 3), options => options with { Log = log.Enqueue }, slowExpert: 1);
        await Until(ranks, prompts, "expert-1");
        Assert.Contains(log, line => line.StartsWith("expert-1 is slow: a batch takes ", StringComparison.Ordinal));
        RankStages slow = ranks.Attention[0].Metrics.Ranks.Single(rank => rank.Name == "expert-1");
        Assert.Equal(["a2e", "queue", "moe", "e2a"], slow.Stages.Select(stage => stage.Stage));
        Assert.True(slow.Stages.Single(stage => stage.Stage == "moe").Seconds > SplitRanks.Lag.TotalSeconds * slow.Batches);
        // What the others spend on it stands in their waits.
        RankStages waits = ranks.Attention[0].Metrics.Ranks[0];
        Assert.True(waits.Stages.Single(stage => stage.Stage == "wait").Seconds > waits.Stages.Single(stage => stage.Stage == "attention").Seconds);
    }

    [Fact]
    public async Task An_attention_rank_that_sleeps_is_named()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(3, 1), options => options, slowAttention: 2);
        await Until(ranks, prompts, "attention-2");
    }

    [Fact]
    public void A_rank_is_slow_after_two_beats_and_keeps_up_after_two()
    {
        SlowRanks watch = new(["attention-0", "attention-1", "expert-0", "expert-1"], 2);
        RankRecord[] records = new RankRecord[4];
        Assert.Empty(Beat(1));
        Assert.Empty(Beat(12));
        Assert.Contains("expert-1 is slow: a batch takes 12.0 ms there and 1.0 ms elsewhere", Assert.Single(Beat(12)), StringComparison.Ordinal);
        Assert.True(watch[3]);
        Assert.Empty(Beat(1));
        Assert.Empty(Beat(12)); // a moment is not enough
        Assert.Empty(Beat(1));
        Assert.StartsWith("expert-1 keeps up again", Assert.Single(Beat(1)), StringComparison.Ordinal);
        // More rows may take longer, and too few batches say nothing.
        Assert.Empty(Beat(12, pairs: 100));
        Assert.Empty(Beat(12, pairs: 100));
        Assert.Empty(Beat(12, batches: 2));
        Assert.Empty(Beat(12, batches: 2));

        IReadOnlyList<string> Beat(int milliseconds, int pairs = 10, int batches = 20)
        {
            for (int rank = 2; rank < 4; rank++)
            {
                records[rank].Batches += batches;
                records[rank].Pairs += batches * (rank == 3 ? pairs : 10);
                records[rank].Computing += batches * (rank == 3 ? milliseconds : 1) * Stopwatch.Frequency / 1000;
            }
            return watch.Observe(records);
        }
    }

    [Fact]
    public async Task The_only_expert_rank_is_named_if_it_sleeps()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        ConcurrentQueue<string> log = new();
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(1, 1), options => options with { Log = log.Enqueue }, slowExpert: 0);
        await Until(ranks, prompts, "expert-0");
        Assert.Contains(log, line => line.StartsWith("expert-0 is slow: a batch takes ", StringComparison.Ordinal) && line.Contains("by itself", StringComparison.Ordinal));
    }

    [Fact]
    public void The_only_expert_rank_is_compared_with_what_its_batches_took_before_it_began()
    {
        SlowRanks watch = new(["attention-0", "expert-0"], 1);
        RankRecord[] records = new RankRecord[2];
        Assert.Empty(Beat(12, 10)); // nothing is known of it
        Assert.Empty(Beat(12, 10));
        (records[1].OneAlone, records[1].ManyAlone) = (Ticks(0.2), Ticks(1.46)); // 0.02 ms more for each pair
        Assert.Empty(Beat(0.4, 10));
        Assert.Empty(Beat(20, 1000)); // larger batches take longer
        Assert.Empty(Beat(20, 1000));
        Assert.Empty(Beat(5, 10)); // a busy machine
        Assert.Empty(Beat(5, 10));
        Assert.Empty(Beat(10.4, 10));
        Assert.StartsWith("expert-0 is slow: a batch takes 10.4 ms there and 0.4 ms by itself", Assert.Single(Beat(10.4, 10)), StringComparison.Ordinal);
        Assert.True(watch[1] && !watch[0]);
        Assert.Empty(Beat(0.4, 10));
        Assert.StartsWith("expert-0 keeps up again", Assert.Single(Beat(0.4, 10)), StringComparison.Ordinal);

        IReadOnlyList<string> Beat(double milliseconds, int pairs)
        {
            records[0].Steps += 20;
            records[0].Rows += 20 * pairs;
            records[0].Work += 20 * Ticks(50);
            records[1].Batches += 20;
            records[1].Pairs += 20 * pairs;
            records[1].Computing += 20 * Ticks(milliseconds);
            return watch.Observe(records);
        }

        static long Ticks(double milliseconds) => (long)(milliseconds * Stopwatch.Frequency / 1000);
    }

    [Fact]
    public async Task The_only_attention_rank_is_named_if_it_sleeps()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        ConcurrentQueue<string> log = new();
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(1, 2), options => options with { Log = log.Enqueue }, slowAttention: 0);
        await Until(ranks, prompts, "attention-0");
        Assert.Contains(log, line => line.StartsWith("attention-0 is slow: a step's own work takes ", StringComparison.Ordinal) && line.Contains("of a processor", StringComparison.Ordinal));
    }

    [Fact]
    public void The_only_attention_rank_is_compared_with_what_it_got_of_a_processor()
    {
        SlowRanks watch = new(["attention-0", "expert-0"], 1);
        RankRecord[] records = new RankRecord[2];
        Assert.Empty(Beat(20, 0)); // nothing is known, as on a GPU
        Assert.Empty(Beat(20, 0));
        Assert.Empty(Beat(300, 299)); // long contexts
        Assert.Empty(Beat(300, 299));
        Assert.Empty(Beat(3.5, 1)); // a busy machine
        Assert.Empty(Beat(3.5, 1));
        Assert.Empty(Beat(11, 1));
        Assert.StartsWith("attention-0 is slow: a step's own work takes 11.0 ms there and 1.0 ms of a processor", Assert.Single(Beat(11, 1)), StringComparison.Ordinal);
        Assert.True(watch[0] && !watch[1]);
        Assert.Empty(Beat(1, 1));
        Assert.StartsWith("attention-0 keeps up again", Assert.Single(Beat(1, 1)), StringComparison.Ordinal);

        IReadOnlyList<string> Beat(double milliseconds, double processor)
        {
            records[0].Steps += 20;
            records[0].Rows += 200;
            records[0].Work += (long)(20 * milliseconds * Stopwatch.Frequency / 1000);
            records[0].Processor += (long)(20 * processor * Stopwatch.Frequency / 1000);
            return watch.Observe(records);
        }
    }

    /// <summary>Asks until the rank is found. Whether others are slow, too, is not asked: on a busy machine they are, now and then.</summary>
    private static async Task Until(SplitRanks ranks, int[][] prompts, string name)
    {
        MixtureMetrics metrics = ranks.Attention[0].Metrics;
        for (int round = 0; !metrics.Ranks.Any(rank => rank.Slow && rank.Name == name); round++)
        {
            Assert.True(round < 30, $"{name} was not found to be slow.");
            await Served.Ask(ranks.Shells, prompts, 20);
        }
    }
}
