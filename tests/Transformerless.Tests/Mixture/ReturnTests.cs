using XDeepServe.FlowServe;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks that have gone and are started again find back while the others serve.</summary>
public sealed class ReturnTests
{
    private const int Tokens = 150;

    [Theory]
    [InlineData("qwen3_moe", 2, 2, 1)]
    [InlineData("deepseek_v3", 4, 3, 2)]
    public async Task A_rank_with_experts_comes_back_under_load(string family, int attention, int experts, int domains)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), Quick);
        for (int round = 1; round <= 2; round++) // it may go again
        {
            ranks.Experts[1].Dispose();
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
            Assert.All(ranks.Attention, rank => Assert.Equal((2 * round) - 1, rank.Recoveries));
            Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
            await ranks.ReturnExpert(1);
            Assert.Equal(expected, await answers);
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
            Assert.All(ranks.Attention, rank => Assert.Equal(2 * round, rank.Recoveries));
            Assert.True(ranks.Experts[1].Times.Pairs > 0);
        }
    }

    [Theory]
    [InlineData("qwen3_moe", 2, 2, 1)]
    [InlineData("mixtral", 2, 1, 2)] // nobody is left in its domain
    public async Task A_rank_with_attention_comes_back_under_load(string family, int attention, int experts, int domains)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), Quick);
        ranks.LeaveAttention(0);
        Assert.Equal(expected, await Served.Ask([ranks.Shells[1]], prompts, Tokens));
        Task<int[][]> answers = Served.Ask([ranks.Shells[1]], prompts, Tokens);
        await ranks.ReturnAttention(0);
        Assert.Equal(expected, await answers);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        Assert.Equal(domains == 1 ? 2 : 0, ranks.Attention[1].Recoveries);
        Assert.True(ranks.Shells[0].Metrics[0].GenerationTokens > 0);
        Assert.Single(ranks.Attention, rank => rank.Metrics.Speaks);
    }

    private static MixtureOptions Quick(MixtureOptions options) => options with { Beat = TimeSpan.FromMilliseconds(20) };
}
