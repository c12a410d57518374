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

    [Theory]
    [InlineData("qwen3_moe", 2)] // one is left alone, and all experts with it
    [InlineData("deepseek_v3", 4)]
    public async Task A_rank_with_both_comes_back_under_load(string family, int ranks)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, Quick);
        foreach (int rank in new[] { 0, 1 }) // the first leads the others
        {
            TeShell[] left = [.. group.Shells.Where((_, other) => other != rank)];
            Task<int[][]> answers = Served.Ask(left, prompts, Tokens);
            group.Leave(rank);
            Assert.Equal(expected, await answers);
            answers = Served.Ask(left, prompts, Tokens);
            await group.Return(rank);
            Assert.Equal(expected, await answers);
            Assert.Equal(expected, await Served.Ask(group.Shells, prompts, Tokens));
            Assert.True(group.Shells[rank].Metrics[0].GenerationTokens > 0);
        }
        Assert.Single(group.Ranks, rank => rank.Metrics.Speaks);
        Assert.All(group.Ranks, rank => Assert.Equal(ranks, rank.Metrics.Ranks.Count));
    }

    [Fact]
    public async Task When_no_experts_are_left_steps_wait_for_them_and_go_on()
    {
        string folder = Served.Folder("deepseek_v3");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 2, 2), Quick);
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, Tokens);
        while (ranks.Shells.Any(shell => shell.Metrics[0].GenerationTokens < 20))
            await Task.Delay(1, TestContext.Current.CancellationToken);
        ranks.Experts[0].Dispose();
        ranks.Experts[1].Dispose();
        await ranks.ReturnExpert(1);
        Assert.Equal(expected, await answers);
        await ranks.ReturnExpert(0);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        Assert.All(ranks.Experts, expert => Assert.True(expert.Times.Pairs > 0));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    public async Task When_that_takes_long_requests_end_with_an_error_and_later_ones_go_on(int attention, int experts)
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts), options => Quick(options) with { ReturnPatience = TimeSpan.FromMilliseconds(50) });
        Generation[] running = [.. prompts.Select((prompt, i) => Served.Ask(ranks.Shells[i % attention], prompt, Tokens, i))];
        ranks.Experts[0].Dispose();
        foreach (Generation generation in running)
            Assert.StartsWith("No experts are left", (await Assert.ThrowsAsync<UnavailableException>(() => Served.Read(generation))).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<UnavailableException>(() => Served.Read(Served.Ask(ranks.Shells[0], prompts[0], 4, 99)));
        await ranks.ReturnExpert(0);
        Assert.Equal(expected, await Attempt(500)); // the groups hear of it a moment later

        async Task<int[][]> Attempt(int more)
        {
            try
            {
                return await Served.Ask(ranks.Shells, prompts, Tokens);
            }
            catch (IOException) when (more > 0)
            {
                await Task.Delay(10, TestContext.Current.CancellationToken);
                return await Attempt(more - 1);
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_all_have_gone_and_are_started_again_they_find_together(bool colocated)
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 20);
        if (colocated)
        {
            using ColocatedRanks group = await ColocatedRanks.Start(folder, 3, Quick);
            foreach (int rank in Enumerable.Range(0, 3))
                group.Leave(rank);
            await Task.WhenAll(Enumerable.Range(0, 3).Select(group.Return));
            Assert.Equal(expected, await Served.Ask(group.Shells, prompts, 20));
            return;
        }
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 2), Quick);
        ranks.LeaveAttention(1);
        ranks.LeaveAttention(0);
        foreach (int expert in Enumerable.Range(0, 2))
            ranks.Experts[expert].Dispose();
        await Task.WhenAll([.. Enumerable.Range(0, 2).Select(ranks.ReturnExpert), .. Enumerable.Range(0, 2).Select(ranks.ReturnAttention)]);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 20));
    }

    private static MixtureOptions Quick(MixtureOptions options) => options with { Beat = TimeSpan.FromMilliseconds(20) };
}
