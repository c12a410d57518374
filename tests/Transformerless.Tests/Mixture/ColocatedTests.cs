using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
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

    /// <summary>Ranks in one process, each with a backend and an engine of its own.</summary>
    private sealed class ColocatedRanks : IDisposable
    {
        private readonly Checkpoint checkpoint;
        private readonly List<CpuBackend> backends = [];
        private readonly List<AttentionRank> ranks = [];

        private ColocatedRanks(string folder) => checkpoint = Checkpoint.Open(folder);

        public List<TeShell> Shells { get; } = [];

        public static async Task<ColocatedRanks> Start(string folder, int count, Func<MixtureOptions, MixtureOptions> how)
        {
            ColocatedRanks group = new(folder);
            MixtureOptions options = how(new MixtureOptions { Name = $"ep_{Guid.NewGuid():N}" });
            for (int rank = 0; rank < count; rank++)
                group.backends.Add(Served.Backend());
            group.ranks.AddRange(await Task.WhenAll(group.backends.Select((backend, rank) => Task.Factory.StartNew(
                () => AttentionRank.JoinColocated(group.checkpoint, backend, new ModelOptions(MaxModelLength: 512), Served.Options, options, rank, count),
                TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default))));
            for (int rank = 0; rank < count; rank++)
                group.Shells.Add(new TeShell(group.ranks[rank].Model, group.backends[rank], null, Served.Options, null, group.ranks[rank].Domain));
            return group;
        }

        public void Dispose()
        {
            foreach (TeShell shell in Shells)
                shell.Dispose();
            foreach (AttentionRank rank in ranks)
                rank.Dispose();
            foreach (CpuBackend backend in backends)
                backend.Dispose();
            checkpoint.Dispose();
        }
    }
}
