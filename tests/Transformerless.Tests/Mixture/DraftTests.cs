using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Speculative decoding where attention and experts are apart.</summary>
public sealed class DraftTests
{
    [Theory]
    [InlineData(1, 1, 1, 1, 1)]
    [InlineData(2, 2, 1, 2, 1)]
    [InlineData(2, 2, 1, 1, 2)]
    [InlineData(3, 2, 2, 3, 0)]
    public async Task Proposals_change_no_token_and_are_as_good_as_those_of_one_engine(int attention, int experts, int domains, int tokens, int microBatches)
    {
        EngineOptions options = Served.Options with { Speculation = new SpeculationOptions { Tokens = tokens, DisableBySequences = 1000 }, MaxBatchedTokens = 64 };
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 40);
        (int[][] together, SpeculationMetrics? whole) = await Served.Colocated(folder, prompts, 40, options);
        Assert.Equal(expected, together);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), how => how with { MicroBatches = microBatches, MaxTokens = 64 }, engine: options);
        for (int round = 0; round < 2; round++) // the second finds prefixes in the cache
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 40));
        SpeculationMetrics[] apart = [.. ranks.Shells.Select(shell => shell.Metrics[0].Speculation!)];
        double rate = (double)apart.Sum(one => one.AcceptedTokens) / apart.Sum(one => one.DraftTokens);
        Assert.InRange(rate, (0.97 * whole!.AcceptedTokens / whole.DraftTokens) - 0.01, 1);
        Assert.Equal(microBatches == 2, ranks.Attention.All(rank => rank.SplitSteps > 0) && microBatches == 2);
    }

    [Theory]
    [InlineData(2, 1, SharedPlacement.Attention)]
    [InlineData(4, 2, SharedPlacement.Experts)]
    public async Task Nor_do_they_where_ranks_have_both(int ranks, int tokens, SharedPlacement shared)
    {
        EngineOptions options = Served.Options with { Speculation = new SpeculationOptions { Tokens = tokens, DisableBySequences = 1000 }, MaxBatchedTokens = 64 };
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 40);
        (_, SpeculationMetrics? whole) = await Served.Colocated(folder, prompts, 40, options);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, how => how with { MaxTokens = 64, SharedExperts = shared }, engine: options);
        for (int round = 0; round < 2; round++)
            Assert.Equal(expected, await Served.Ask(group.Shells, prompts, 40));
        SpeculationMetrics[] apart = [.. group.Shells.Select(shell => shell.Metrics[0].Speculation!)];
        double rate = (double)apart.Sum(one => one.AcceptedTokens) / apart.Sum(one => one.DraftTokens);
        Assert.InRange(rate, (0.97 * whole!.AcceptedTokens / whole.DraftTokens) - 0.01, 1);
    }

    [Fact]
    public async Task Looked_up_proposals_are_those_of_one_engine()
    {
        EngineOptions options = Served.Options with { Speculation = new SpeculationOptions { Method = SpeculationMethod.PromptLookup, Tokens = 3, DisableBySequences = 1000 } };
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 60);
        (_, SpeculationMetrics? whole) = await Served.Colocated(folder, prompts, 60, options);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(3, 2), how => how, engine: options);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 60));
        Assert.Equal(whole!.AcceptedTokens, ranks.Shells.Sum(shell => shell.Metrics[0].Speculation!.AcceptedTokens));
        Assert.True(whole.AcceptedTokens > 0);
    }

    [Fact]
    public async Task Proposals_outlive_an_expert_rank_and_preemption()
    {
        EngineOptions options = Served.Options with { Speculation = new SpeculationOptions { Tokens = 1, DisableBySequences = 1000 }, NumBlocksOverride = 24 };
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 60);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 2), how => how, engine: options);
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, 60);
        while (ranks.Shells.Any(shell => shell.Metrics[0].GenerationTokens < 20))
            await Task.Delay(1, TestContext.Current.CancellationToken);
        ranks.Experts[1].Dispose();
        Assert.Equal(expected, await answers);
        Assert.All(ranks.Attention, rank => Assert.Equal(1, rank.Recoveries));
        Assert.All(ranks.Shells, shell => Assert.True(shell.Metrics[0].Preemptions > 0 && shell.Metrics[0].Speculation!.AcceptedTokens > 0));
    }
}
