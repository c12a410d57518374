using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks in one process, each with a backend and an engine of its own.</summary>
internal sealed class ColocatedRanks : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly List<CpuBackend> backends = [];

    private ColocatedRanks(string folder) => checkpoint = Checkpoint.Open(folder);

    public List<AttentionRank> Ranks { get; } = [];

    public List<TeShell> Shells { get; } = [];

    public static async Task<ColocatedRanks> Start(string folder, int count, Func<MixtureOptions, MixtureOptions> how)
    {
        ColocatedRanks group = new(folder);
        MixtureOptions options = how(new MixtureOptions { Name = $"ep_{Guid.NewGuid():N}" });
        for (int rank = 0; rank < count; rank++)
            group.backends.Add(Served.Backend());
        group.Ranks.AddRange(await Task.WhenAll(group.backends.Select((backend, rank) => Task.Factory.StartNew(
            () => AttentionRank.JoinColocated(group.checkpoint, backend, new ModelOptions(MaxModelLength: 512), Served.Options, options, rank, count),
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default))));
        for (int rank = 0; rank < count; rank++)
            group.Shells.Add(new TeShell(group.Ranks[rank].Model, group.backends[rank], null, Served.Options, null, group.Ranks[rank].Domain));
        return group;
    }

    public void Dispose()
    {
        foreach (TeShell shell in Shells)
            shell.Dispose();
        foreach (AttentionRank rank in Ranks)
            rank.Dispose();
        foreach (CpuBackend backend in backends)
            backend.Dispose();
        checkpoint.Dispose();
    }
}
