using XDeepServe.FlowServe;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks that share experts against one engine that has them all.</summary>
public sealed class ColocatedTests
{
    public static TheoryData<string, int, int> Cases
    {
        get
        {
            TheoryData<string, int, int> data = new();
            foreach (string family in Served.Families)
            {
                data.Add(family, 2, 128);
                data.Add(family, 4, 7); // rounds
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Ranks_that_share_experts_give_the_tokens_of_one_engine(string family, int ranks, int most)
    {
        string folder = Served.Folder(family);
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 24);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, ranks, options => options with { MaxTokens = most });
        Assert.Equal(expected, await Served.Ask(group.Shells, prompts, 24));
    }

    [Fact]
    public async Task A_rank_without_work_takes_part_and_wakes_when_it_gets_some()
    {
        string folder = Served.Folder("qwen3_moe");
        int[][] prompts = Served.Prompts(folder);
        int[][] expected = await Served.Colocated(folder, prompts, 16);
        using ColocatedRanks group = await ColocatedRanks.Start(folder, 3, options => options);
        Generation alone = Served.Ask(group.Shells[1], prompts[0], 16, 0);
        Assert.Equal(expected[0], await Served.Read(alone));
        Assert.Equal(0, group.Shells[2].Metrics[0].StepCount);
        Assert.Equal(expected, await Served.Ask(group.Shells, prompts, 16));
        Assert.All(group.Shells, shell => Assert.True(shell.Metrics[0].StepCount > 0));
    }
}
