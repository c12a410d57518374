using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks that share experts on one GPU, each with streams of its own: copies move, a rank goes and comes back, and the tokens are those of one engine there. Skipped where there is no GPU.</summary>
public sealed class GpuTests
{
    private const int Tokens = 100;

    [Theory]
    [InlineData("deepseek_v3", 2, SharedPlacement.Attention)]
    [InlineData("deepseek_v2_lite", 2, SharedPlacement.Experts)]
    [InlineData("mixtral", 4, SharedPlacement.Attention)]
    public async Task Ranks_that_share_experts_give_the_tokens_of_one_engine_while_experts_move(string family, int ranks, SharedPlacement shared)
    {
        (string folder, int[][] prompts, int[][] expected) = await Whole(family);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, options => Moving(options, shared), Served.Gpu);
        MixtureMetrics metrics = group.Ranks[0].Metrics;
        for (int round = 0; metrics.Rebalancings < 2; round++)
        {
            Assert.True(round < 40, "No copies were made.");
            Assert.Equal(expected, await Served.Ask(group.Shells, prompts, Tokens));
        }
        Assert.True(metrics.Moves > 0 && metrics.Bytes > 0);
    }

    [Theory]
    [InlineData("deepseek_v2", 1, 1, 1, SharedPlacement.Attention)]
    [InlineData("deepseek_v3", 2, 2, 1, SharedPlacement.Experts)]
    [InlineData("qwen3_moe", 2, 2, 1, SharedPlacement.Attention)]
    [InlineData("mixtral", 4, 3, 2, SharedPlacement.Attention)]
    public async Task Attention_and_experts_apart_give_the_tokens_of_one_engine_while_experts_move_go_and_return(string family, int attention, int experts, int domains, SharedPlacement shared)
    {
        (string folder, int[][] prompts, int[][] expected) = await Whole(family);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => Moving(options, shared), device: Served.Gpu);
        MixtureMetrics metrics = ranks.Attention[0].Metrics;
        for (int round = 0; round == 0 || (experts > 1 && metrics.Rebalancings < 2); round++)
        {
            Assert.True(round < 40, "No copies were made.");
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        }
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
        ranks.Experts[0].Dispose();
        await ranks.ReturnExpert(0);
        Assert.Equal(expected, await answers);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        Assert.True(experts == 1 || metrics.Moves > 0);
    }

    private static async Task<(string Folder, int[][] Prompts, int[][] Expected)> Whole(string family)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        return (folder, prompts, (await Served.Colocated(folder, prompts, Tokens, Served.Options, Served.Gpu)).Tokens);
    }

    private static MixtureOptions Moving(MixtureOptions options, SharedPlacement shared) => options with
    {
        SharedExperts = shared,
        Redundant = 2,
        Beat = TimeSpan.FromMilliseconds(20),
        Balancing = new BalancerOptions { Ranks = 1, Period = TimeSpan.FromMilliseconds(60), Slices = 3, Threshold = 1, LeastTokensPerRank = 0 },
    };
}
