using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Ranks in one process, each with a backend and an engine of its own.</summary>
internal sealed class ColocatedRanks : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly List<Backend> backends = [];
    private readonly HashSet<int> gone = [];
    private readonly MixtureOptions options;
    private readonly EngineOptions engine;

    private ColocatedRanks(string folder, MixtureOptions options, EngineOptions engine) => (checkpoint, this.options, this.engine) = (Checkpoint.Open(folder), options, engine);

    public List<AttentionRank> Ranks { get; } = [];

    public List<TeShell> Shells { get; } = [];

    public static async Task<ColocatedRanks> Start(string folder, int count, Func<MixtureOptions, MixtureOptions> how, Func<Backend>? device = null, EngineOptions? engine = null)
    {
        ColocatedRanks group = new(folder, how(new MixtureOptions { Name = $"ep_{Guid.NewGuid():N}" }), engine ?? Served.Options);
        for (int rank = 0; rank < count; rank++)
            group.backends.Add((device ?? Served.Cpu)());
        group.Ranks.AddRange(await Task.WhenAll(Enumerable.Range(0, count).Select(rank => group.Join(rank, group.options))));
        for (int rank = 0; rank < count; rank++)
            group.Shells.Add(group.Shell(rank));
        return group;
    }

    /// <summary>A rank leaves in the middle of it all.</summary>
    public void Leave(int rank)
    {
        gone.Add(rank);
        Shells[rank].Dispose();
        Ranks[rank].Dispose();
    }

    /// <summary>A rank that has gone is started again.</summary>
    public async Task Return(int rank)
    {
        Ranks[rank] = await Join(rank, options with { Rejoin = true });
        Shells[rank] = Shell(rank);
        gone.Remove(rank);
    }

    public void Dispose()
    {
        int[] here = [.. Enumerable.Range(0, Shells.Count).Where(rank => !gone.Contains(rank))];
        foreach (int rank in here)
            Shells[rank].Dispose();
        foreach (int rank in here)
            Ranks[rank].Dispose();
        foreach (Backend backend in backends)
            backend.Dispose();
        checkpoint.Dispose();
    }

    private Task<AttentionRank> Join(int rank, MixtureOptions how) => Task.Factory.StartNew(
        () => AttentionRank.JoinColocated(checkpoint, backends[rank], new ModelOptions(MaxModelLength: 512, Drafts: engine.Speculation is not null), engine, how, rank, backends.Count),
        TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private TeShell Shell(int rank) => new(Ranks[rank].Model, backends[rank], null, engine, null, Ranks[rank].Domain);
}
