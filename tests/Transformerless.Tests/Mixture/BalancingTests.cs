using XDeepServe.FlowServe.Balancing;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Copies of busy experts that come and go while tokens are generated: the tokens stay the same.</summary>
public sealed class BalancingTests
{
    private const int Tokens = 60;

    public static TheoryData<string, int> Shared
    {
        get
        {
            TheoryData<string, int> data = [];
            foreach (string family in Served.Families)
            {
                data.Add(family, 2);
                data.Add(family, 4);
            }
            return data;
        }
    }

    public static TheoryData<string, int, int, int, bool> Apart
    {
        get
        {
            TheoryData<string, int, int, int, bool> data = [];
            foreach (string family in Served.Families)
            {
                data.Add(family, 2, 2, 1, false);
                data.Add(family, 3, 2, 1, false);
                data.Add(family, 4, 3, 2, false);
                data.Add(family, 1, 2, 1, true);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Shared))]
    public Task Experts_that_move_among_ranks_change_no_token(string family, int ranks) => Share(family, ranks, BalancingAlgorithm.TimeSliced);

    [Theory]
    [InlineData("qwen3_moe", 2, BalancingAlgorithm.Global)]
    [InlineData("deepseek_v3", 4, BalancingAlgorithm.Hierarchical)]
    public Task Nor_do_they_where_DeepSeeks_algorithms_move_them(string family, int ranks, BalancingAlgorithm algorithm) => Share(family, ranks, algorithm);

    [Theory]
    [MemberData(nameof(Apart))]
    public async Task Experts_that_move_among_expert_ranks_change_no_token(string family, int attention, int experts, int domains, bool promptsElsewhere)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => Balanced(options, BalancingAlgorithm.TimeSliced));
        using PromptsElsewhere? elsewhere = promptsElsewhere ? new PromptsElsewhere(folder, ranks.Shells) : null;
        await Moving(() => elsewhere?.Ask(prompts, Tokens) ?? Served.Ask(ranks.Shells, prompts, Tokens), expected, ranks.Attention[0].Metrics);
        Check(ranks.Attention, attention + experts);
        Assert.True(ranks.Experts.Sum(expert => expert.LoadedBytes) >= ranks.Attention[0].Metrics.Bytes);
        Assert.True(elsewhere is null || elsewhere.Fetched > 0);
    }

    [Theory]
    [MemberData(nameof(SplitTests.Models), MemberType = typeof(SplitTests))]
    public async Task The_only_expert_rank_is_balanced_as_it_is(string family)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(1, 1), options => Balanced(options, BalancingAlgorithm.TimeSliced));
        MixtureMetrics metrics = ranks.Attention[0].Metrics;
        while (metrics.Layers.Count == 0 || metrics.Layers[0].Tokens.Sum() == 0)
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, Tokens));
        Assert.All(metrics.Layers, layer => Assert.Equal(1, layer.Before));
        Assert.Equal((0, 0L), (metrics.Moves, metrics.Bytes));
    }

    [Fact]
    public async Task Nothing_moves_while_batches_are_small()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 40);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(1, 2), options => Balanced(options, BalancingAlgorithm.TimeSliced) with
        {
            Balancing = Balanced(options, BalancingAlgorithm.TimeSliced).Balancing! with { LeastTokensPerRank = 1000 },
        });
        MixtureMetrics metrics = ranks.Attention[0].Metrics;
        while (metrics.Layers.Count == 0 || metrics.Layers[0].Tokens.Sum() == 0)
            Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 40));
        Assert.Equal((0, 0), (metrics.Moves, metrics.Rebalancings));
        Assert.All(metrics.Layers, layer => Assert.Equal(layer.Before, layer.After));
    }

    [Fact]
    public void Groups_of_experts_are_the_models()
    {
        MixtureOptions options = new() { Name = "", Balancing = new BalancerOptions { Ranks = 1, Algorithm = BalancingAlgorithm.Hierarchical, Nodes = 2 } };
        (ModelConfig grouped, ModelConfig plain) = (Config("deepseek_v3"), Config("mixtral"));
        Assert.True(grouped.Experts!.Rule.Groups > 1);
        Assert.Equal((4, grouped.Experts.Rule.Groups), (options.For(grouped, 4).Balancing!.Ranks, options.For(grouped, 4).Balancing!.Groups));
        Assert.Equal(plain.Experts!.Count, options.For(plain, 4).Balancing!.Groups);
        Assert.Contains("3 ranks", Assert.Throws<ArgumentException>(() => options.For(grouped, 3)).Message, StringComparison.Ordinal);
        Assert.Contains("no experts", Assert.Throws<ArgumentException>(() => options.For(plain with { Experts = null }, 2)).Message, StringComparison.Ordinal);
    }

    private static async Task Share(string family, int ranks, BalancingAlgorithm algorithm)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, Tokens);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, options => Balanced(options, algorithm));
        await Moving(() => Served.Ask(group.Shells, prompts, Tokens), expected, group.Ranks[0].Metrics);
        Check(group.Ranks, ranks);
    }

    private static ModelConfig Config(string family)
    {
        using Checkpoint checkpoint = Checkpoint.Open(Served.Folder(family));
        return ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
    }

    private static MixtureOptions Balanced(MixtureOptions options, BalancingAlgorithm algorithm) => options with
    {
        Redundant = 2,
        MaxTokens = 20,
        Beat = TimeSpan.FromMilliseconds(20),
        Balancing = new BalancerOptions { Ranks = 1, Algorithm = algorithm, Nodes = algorithm == BalancingAlgorithm.Hierarchical ? 2 : 1, Period = TimeSpan.FromMilliseconds(60), Slices = 3, Threshold = 1, LeastTokensPerRank = 0 },
    };

    /// <summary>Asks the same until experts were moved meanwhile, and once more. A small model may be even behind the first move.</summary>
    private static async Task Moving(Func<Task<int[][]>> ask, int[][] expected, MixtureMetrics metrics)
    {
        for (int round = 0; metrics.Rebalancings == 0; round++)
        {
            Assert.True(round < 40, "No copies were made.");
            Assert.Equal(expected, await ask());
        }
        Assert.Equal(expected, await ask());
    }

    private static void Check(List<AttentionRank> ranks, int all)
    {
        Assert.All(ranks, rank => Assert.Equal(0, rank.Recoveries));
        MixtureMetrics metrics = ranks[0].Metrics;
        Assert.Equal(all, metrics.Ranks.Count);
        Assert.True(metrics.Bytes > 0 && metrics.Moves > 0 && metrics.LongestStall > TimeSpan.Zero);
        Assert.Single(ranks, rank => rank.Metrics.Speaks);
    }
}
