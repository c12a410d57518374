using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks that go in the middle of steps: the others end what they have begun, with the same tokens.</summary>
public sealed class DeathTests
{
    private const int Tokens = 200;

    [Theory]
    [InlineData("deepseek_v3", 2, 2, 1)]
    [InlineData("qwen3_moe", 3, 3, 2)]
    public async Task When_an_expert_rank_goes_the_others_load_its_experts_and_go_on(string family, int attention, int experts, int domains)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => options);
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
        await Busy(ranks.Shells);
        ranks.Experts[0].Dispose();
        Assert.Equal(expected, await answers);
        Assert.All(ranks.Attention, rank => Assert.Equal(1, rank.Recoveries));
        Assert.All(ranks.Experts.Skip(1), expert => Assert.Equal((domains, 1), (expert.Recoveries, expert.Loads)));
    }

    [Fact]
    public async Task Where_all_experts_have_copies_these_take_over_and_nothing_is_loaded()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        // Every rank has slots for all experts.
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 2), options => Moving(options, 8));
        while (ranks.Attention[0].Metrics.Rebalancings == 0)
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        Assert.All(ranks.Attention[0].Metrics.Layers, layer => Assert.All(layer.Slots, slots => Assert.True(slots >= 2)));
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
        await Busy(ranks.Shells);
        ranks.Experts[0].Dispose();
        Assert.Equal(expected, await answers);
        Assert.All(ranks.Attention, rank => Assert.Equal(1, rank.Recoveries));
        Assert.Equal(0, ranks.Experts[1].Loads);
    }

    [Theory]
    [InlineData("deepseek_v3", 2, 3, 1)]
    [InlineData("mixtral", 4, 3, 2)]
    public async Task Ranks_may_go_while_experts_move(string family, int attention, int experts, int domains)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => Moving(options, 4));
        while (ranks.Attention[0].Metrics.Rebalancings == 0)
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        long before = ranks.Attention[0].Metrics.Rebalancings;
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
        ranks.Experts[1].Dispose();
        Assert.Equal(expected, await answers);
        for (int round = 0; ranks.Attention[0].Metrics.Rebalancings == before; round++)
        {
            Assert.True(round < 40, "No copies were made any more.");
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        }
        Assert.All(ranks.Attention, rank => Assert.Equal(attention + experts - 1, rank.Metrics.Ranks.Count));
    }

    [Fact]
    public async Task When_an_attention_rank_goes_its_domain_goes_on_without_it_and_others_notice_nothing()
    {
        string folder = Served.Folder("deepseek_v3");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(4, 2, 2), options => options);
        Task<int[][]> answers = Served.Ask([ranks.Shells[0], ranks.Shells[2], ranks.Shells[3]], prompts, Tokens);
        await Busy([ranks.Shells[0], ranks.Shells[2], ranks.Shells[3]]);
        ranks.LeaveAttention(1);
        Assert.Equal(expected, await answers);
        Assert.Equal([1, 0, 0], new[] { 0, 2, 3 }.Select(member => ranks.Attention[member].Recoveries));
        Assert.All(ranks.Experts, expert => Assert.Equal((1, 0), (expert.Recoveries, expert.Loads)));
    }

    [Fact]
    public void Experts_without_a_slot_get_free_ones_and_all_else_stays()
    {
        // Rank 1 of three is gone: nobody else had expert 2 of the first layer. Expert 0 has a copy.
        ExpertLayout layout = ExpertLayout.Complete([4, 7], 4, [[[0, 3, -1], [0, 1, -1]], [[0, 1, 2], [0, 3, -1]]], out int moved);
        Assert.Equal(1, moved);
        Assert.Equal([0, 3, 2, 0, 1, -1], layout[0].Slots.ToArray());
        Assert.Equal([0, 1, 2, 0, 3, -1], layout[1].Slots.ToArray());
        // Nothing is free any more: copies make way.
        layout = ExpertLayout.Complete([4], 4, [[[0, 3, 0], [0, 1, 3]]], out moved);
        Assert.Equal(1, moved);
        Assert.Equal([2, 3, 0, 0, 1, 3], layout[0].Slots.ToArray());
        // There are no copies either: every rank gets more.
        layout = ExpertLayout.Complete([4, 7], 4, [[[0, 3]], [[0, 1]]], out moved);
        Assert.Equal(4, moved);
        Assert.Equal([0, 3, 1, 2], layout[0].Slots.ToArray());
        Assert.Equal([0, 1, 2, 3], layout[1].Slots.ToArray());
    }

    private static MixtureOptions Moving(MixtureOptions options, int redundant) => options with
    {
        Redundant = redundant,
        Beat = TimeSpan.FromMilliseconds(20),
        Balancing = new BalancerOptions { Ranks = 1, Period = TimeSpan.FromMilliseconds(40), Slices = 2, Threshold = 1, LeastTokensPerRank = 0 },
    };

    /// <summary>Returns when every engine is in the middle of its requests.</summary>
    private static async Task Busy(IEnumerable<TeShell> shells)
    {
        foreach (TeShell shell in shells)
            while (shell.Metrics[0].GenerationTokens < 20)
                await Task.Delay(1, TestContext.Current.CancellationToken);
    }
}
