using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Shared experts on the ranks with experts: the same tokens, and nobody with attention computes them.</summary>
public sealed class SharedExpertTests
{
    private const int Tokens = 60;

    public static TheoryData<string, int, int> Colocated
    {
        get
        {
            TheoryData<string, int, int> data = [];
            foreach (string family in Served.FamiliesWithSharedExperts)
            {
                data.Add(family, 2, 20);
                data.Add(family, 4, 7); // rounds
            }
            return data;
        }
    }

    public static TheoryData<string, int, int, int, bool> Apart
    {
        get
        {
            TheoryData<string, int, int, int, bool> data = [];
            foreach (string family in Served.FamiliesWithSharedExperts)
            {
                data.Add(family, 1, 1, 1, false);
                data.Add(family, 4, 3, 2, false);
                data.Add(family, 1, 2, 1, true);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Colocated))]
    public async Task Ranks_with_both_give_the_tokens_of_one_engine_while_experts_move(string family, int ranks, int most)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, options => Moving(options) with { MaxTokens = most });
        await UntilMoved(() => Served.Ask(group.Shells, prompts, Tokens), expected, group.Ranks[0].Metrics);
    }

    [Theory]
    [MemberData(nameof(Apart))]
    public async Task Apart_they_give_the_tokens_of_one_engine_while_experts_move(string family, int attention, int experts, int domains, bool promptsElsewhere)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), Moving);
        using PromptsElsewhere? elsewhere = promptsElsewhere ? new PromptsElsewhere(folder, ranks.Shells) : null;
        Func<Task<int[][]>> ask = () => elsewhere?.Ask(prompts, Tokens) ?? Served.Ask(ranks.Shells, prompts, Tokens);
        if (experts > 1)
            await UntilMoved(ask, expected, ranks.Attention[0].Metrics);
        else
            Assert.Equal(expected, await ask());
        ModelConfig config = ranks.Attention[0].Model.Config;
        Assert.All(ranks.Attention, rank => Assert.Equal(0, rank.Exchange.DispatchedRows % (config.Experts!.Rule.TopK + 1)));
        Assert.Equal(ranks.Attention.Sum(rank => rank.Exchange.DispatchedRows), ranks.Experts.Sum(expert => expert.Times.Pairs));
    }

    [Theory]
    [InlineData("deepseek_v2_lite", 2, 3)]
    [InlineData("nano-moe", 2, 2)]
    public async Task When_an_expert_rank_goes_the_others_have_them_and_it_brings_its_own_when_it_returns(string family, int attention, int experts)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 200);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts), options => Moving(options) with { Redundant = 0, Balancing = null });
        Task<int[][]> answers = Served.Ask(ranks.Shells, prompts, 200);
        foreach (TeShell shell in ranks.Shells)
            while (shell.Metrics[0].GenerationTokens < 20)
                await Task.Delay(1, TestContext.Current.CancellationToken);
        ranks.Experts[0].Dispose();
        Assert.Equal(expected, await answers);
        Assert.All(ranks.Attention, rank => Assert.Equal(1, rank.Recoveries));
        Assert.All(ranks.Experts.Skip(1), expert => Assert.Equal(1, expert.Loads));
        await ranks.ReturnExpert(0);
        while (ranks.Experts[0].Times.Pairs == 0)
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 200));
    }

    [Fact]
    public async Task Micro_batches_and_drafts_work_as_they_do_otherwise()
    {
        EngineOptions options = Served.Options with { Speculation = new SpeculationOptions { Tokens = 2, DisableBySequences = 1000 }, MaxBatchedTokens = 64 };
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 40);
        using SplitRanks ranks = await SplitRanks.Start(
            folder, new SplitPlan(2, 2), how => how with { MicroBatches = 2, MaxTokens = 64, SharedExperts = SharedPlacement.Experts }, engine: options);
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 40));
        Assert.All(ranks.Attention, rank => Assert.True(rank.SplitSteps > 0));
        Assert.All(ranks.Shells, shell => Assert.True(shell.Metrics[0].Speculation!.AcceptedTokens > 0));
    }

    [Fact]
    public async Task Ranks_with_attention_do_without_their_weights_and_each_expert_rank_has_them()
    {
        string folder = Served.Folder("deepseek_v2_lite");
        int[][] prompts = Served.Prompts(folder);
        using SplitRanks beside = await SplitRanks.Start(folder, new SplitPlan(1, 2), options => options);
        using SplitRanks there = await SplitRanks.Start(folder, new SplitPlan(1, 2), options => options with { SharedExperts = SharedPlacement.Experts });
        ModelConfig config = there.Attention[0].Model.Config;
        // Gate, up and down, in BF16 as the file has them.
        long bytes = 3L * sizeof(ushort) * config.HiddenSize * config.Experts!.Shared * config.Experts.Width * ExpertShelf.LayersOf(config).Count;
        Assert.Equal(bytes, beside.Attention[0].Model.WeightBytes - there.Attention[0].Model.WeightBytes);
        Assert.All(there.Experts.Zip(beside.Experts), pair => Assert.Equal(bytes, pair.First.WeightBytes - pair.Second.WeightBytes));
        Assert.Equal(await Served.Ask(beside.Shells, prompts, Tokens), await Served.Ask(there.Shells, prompts, Tokens));
    }

    [Fact]
    public void Shared_experts_are_one_more_with_a_copy_on_every_rank()
    {
        ExpertLayout layout = new([4], [new ExpertPlacement(3, 2, [0, 1, 2, -1])], shared: true);
        Assert.Equal((2, 3), (layout.SlotsPerRank, layout.TargetsPerRank));
        Assert.Equal([0, 1, 3, 2, -1, 3], layout.Targets(0).Slots.ToArray());
        Assert.Equal([0, 1, 3, 2, 0, 3], layout.With(0, new ExpertPlacement(3, 2, [0, 1, 2, 0])).Targets(0).Slots.ToArray());
        // A rank is gone: the other gets more slots, and the shared experts are behind them.
        Assert.Equal([0, 1, 2, 3], ExpertLayout.Complete([4], 3, [[[0, 1]]], out _, layout.Shared).Targets(0).Slots.ToArray());
    }

    [Fact]
    public void A_model_without_them_has_none_to_place()
    {
        MixtureOptions options = new() { Name = "", SharedExperts = SharedPlacement.Experts };
        Assert.Equal(SharedPlacement.Experts, options.For(Config("glm4_moe"), 2).SharedExperts);
        Assert.Equal(SharedPlacement.Attention, options.For(Config("mixtral"), 2).SharedExperts);
    }

    private static ModelConfig Config(string family)
    {
        using Checkpoint checkpoint = Checkpoint.Open(Served.Folder(family));
        return ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
    }

    private static MixtureOptions Moving(MixtureOptions options) => options with
    {
        SharedExperts = SharedPlacement.Experts,
        Redundant = 2,
        MaxTokens = 20,
        Beat = TimeSpan.FromMilliseconds(20),
        Balancing = new BalancerOptions { Ranks = 1, Period = TimeSpan.FromMilliseconds(60), Slices = 3, Threshold = 1, LeastTokensPerRank = 0 },
    };

    private static async Task UntilMoved(Func<Task<int[][]>> ask, int[][] expected, MixtureMetrics metrics)
    {
        for (int round = 0; metrics.Rebalancings == 0; round++)
        {
            Assert.True(round < 40, "No copies were made.");
            Assert.Equal(expected, await ask());
        }
        Assert.Equal(expected, await ask());
    }
}
