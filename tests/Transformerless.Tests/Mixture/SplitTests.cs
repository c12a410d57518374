using XDeepServe.FlowServe;
using XDeepServe.Transformerless.Mixture;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Attention on some ranks and experts on others against one engine that has both.</summary>
public sealed class SplitTests
{
    public static TheoryData<string> Models => [.. Served.Families];

    public static TheoryData<string, int, int, int, bool> Cases
    {
        get
        {
            TheoryData<string, int, int, int, bool> data = new();
            foreach (string family in Served.Families)
            {
                data.Add(family, 1, 1, 1, true);
                data.Add(family, 2, 2, 1, true);
                data.Add(family, 3, 2, 1, false);
                data.Add(family, 3, 2, 1, true);
                data.Add(family, 4, 3, 2, true);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Attention_and_experts_apart_give_the_tokens_of_one_engine(string family, int attention, int experts, int domains, bool trampolines)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 16);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => options with { Trampolines = trampolines, MaxTokens = 20 });
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 16));
        Assert.All(ranks.Experts, expert => Assert.True(expert.Times.Pairs > 0));
        Assert.Equal(ranks.Attention.Sum(rank => rank.Exchange.DispatchedRows), ranks.Experts.Sum(expert => expert.Times.Pairs));
    }

    [Theory]
    [InlineData("deepseek_v3", 2, 2, 1, 2)]
    [InlineData("mixtral", 3, 2, 2, 2)]
    [InlineData("qwen3_moe", 2, 1, 2, 0)]
    [InlineData("nano-moe", 2, 2, 1, 2)]
    public async Task Two_micro_batches_give_the_tokens_of_one(string family, int attention, int experts, int domains, int microBatches)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 40);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(attention, experts, domains), options => options with { MicroBatches = microBatches, MaxTokens = 16 });
        // The last engine has one sequence at a time, the others several: their second micro-batches meet its empty ones.
        Assert.Equal(expected[0], await Served.Read(Served.Ask(ranks.Shells[^1], prompts[0], 40, 0)));
        Assert.Equal(expected, await Served.Ask(ranks.Shells, prompts, 40));
        Assert.All(ranks.Attention, rank => Assert.True(rank.SplitSteps > 0));
    }

    [Theory]
    [InlineData(WireType.BF16)]
    [InlineData(WireType.I8)]
    public async Task Rows_may_travel_in_fewer_bits(WireType wire)
    {
        string folder = Served.Folder("nano-moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 1);
        using SplitRanks ranks = await SplitRanks.Start(folder, new SplitPlan(2, 2), options => options with { DispatchWire = wire, CombineWire = wire });
        int[][] actual = await Served.Ask(ranks.Shells, prompts, 1);
        Assert.True(Enumerable.Range(0, prompts.Length).Count(i => actual[i][0] == expected[i][0]) > prompts.Length * 2 / 3);
    }

    [Theory]
    [InlineData(7, 5, 2, "0 0 0 1 1 1 1")]
    [InlineData(4, 3, 2, "0 0 1 1")]
    [InlineData(3, 1, 3, "0 1 2")]
    public void Neighbours_share_a_domain(int attention, int experts, int domains, string expected)
    {
        SplitPlan plan = new(attention, experts, domains);
        Assert.Equal(expected, string.Join(' ', Enumerable.Range(0, attention).Select(plan.DomainOf)));
    }

    [Theory]
    [InlineData(0, 1, 1)]
    [InlineData(1, 0, 1)]
    [InlineData(2, 2, 3)]
    [InlineData(2, 2, 0)]
    public void What_cannot_be_apart_is_refused(int attention, int experts, int domains) =>
        Assert.Throws<ArgumentException>(() => new SplitPlan(attention, experts, domains));
}
