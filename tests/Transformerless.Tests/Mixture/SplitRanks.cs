using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Attention and expert ranks in one process, each with a backend of its own and regions as processes have them.</summary>
internal sealed class SplitRanks : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly List<CpuBackend> backends = [];
    private readonly HashSet<int> gone = [];

    private SplitRanks(string folder) => checkpoint = Checkpoint.Open(folder);

    public List<AttentionRank> Attention { get; } = [];

    public List<ExpertWorker> Experts { get; } = [];

    public List<TeShell> Shells { get; } = [];

    public static async Task<SplitRanks> Start(string folder, SplitPlan plan, Func<MixtureOptions, MixtureOptions> how, int slowExpert = -1, int slowAttention = -1, EngineOptions? engine = null)
    {
        SplitRanks ranks = new(folder);
        MixtureOptions options = how(new MixtureOptions { Name = $"ma_{Guid.NewGuid():N}" });
        engine ??= Served.Options;
        ModelOptions model = new(MaxModelLength: 512, Drafts: engine.Speculation is not null);
        for (int rank = 0; rank < plan.Attention + plan.Experts; rank++)
            ranks.backends.Add(Served.Backend());
        Task<ExpertWorker>[] experts = [.. Enumerable.Range(0, plan.Experts).Select(member => Long(() =>
            ExpertWorker.Join(ranks.checkpoint, ranks.backends[plan.Attention + member], null, Lagging(member == slowExpert), plan, member, engine.MaxBatchedTokens)))];
        Task<AttentionRank>[] attention = [.. Enumerable.Range(0, plan.Attention).Select(member => Long(() =>
            AttentionRank.JoinSplit(ranks.checkpoint, ranks.backends[member], model, engine, Lagging(member == slowAttention), plan, member)))];
        ranks.Experts.AddRange(await Task.WhenAll(experts));
        ranks.Attention.AddRange(await Task.WhenAll(attention));
        for (int member = 0; member < plan.Attention; member++)
            ranks.Shells.Add(new TeShell(ranks.Attention[member].Model, ranks.backends[member], null, engine, null, ranks.Attention[member].Domain));
        return ranks;

        MixtureOptions Lagging(bool slow) => slow ? options with { Lag = TimeSpan.FromMilliseconds(10) } : options;
    }

    /// <summary>An attention rank leaves in the middle of it all.</summary>
    public void LeaveAttention(int member)
    {
        gone.Add(member);
        Shells[member].Dispose();
        Attention[member].Dispose();
    }

    public void Dispose()
    {
        for (int member = 0; member < Shells.Count; member++)
            if (!gone.Contains(member))
                Shells[member].Dispose();
        foreach (ExpertWorker expert in Experts)
            expert.Dispose();
        for (int member = 0; member < Shells.Count; member++)
            if (!gone.Contains(member))
                Attention[member].Dispose();
        foreach (CpuBackend backend in backends)
            backend.Dispose();
        checkpoint.Dispose();
    }

    private static Task<T> Long<T>(Func<T> start) =>
        Task.Factory.StartNew(start, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
