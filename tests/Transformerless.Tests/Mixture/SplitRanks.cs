using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

/// <summary>Attention and expert ranks in one process, each with a backend of its own and regions as processes have them.</summary>
internal sealed class SplitRanks : IDisposable
{
    private readonly Checkpoint checkpoint;
    private readonly List<Backend> backends = [];
    private readonly HashSet<int> gone = [];
    private readonly SplitPlan plan;
    private readonly MixtureOptions options;
    private readonly EngineOptions engine;

    /// <summary>What a rank that is slow on purpose adds to a batch, or to a step.</summary>
    public static TimeSpan Lag { get; } = TimeSpan.FromMilliseconds(20);

    private SplitRanks(string folder, SplitPlan plan, MixtureOptions options, EngineOptions engine)
    {
        checkpoint = Checkpoint.Open(folder);
        (this.plan, this.options, this.engine) = (plan, options, engine);
    }

    public List<AttentionRank> Attention { get; } = [];

    public List<ExpertWorker> Experts { get; } = [];

    public List<TeShell> Shells { get; } = [];

    public static async Task<SplitRanks> Start(string folder, SplitPlan plan, Func<MixtureOptions, MixtureOptions> how, int slowExpert = -1, int slowAttention = -1, EngineOptions? engine = null, Func<Backend>? device = null)
    {
        MixtureOptions options = how(new MixtureOptions { Name = $"ma_{Guid.NewGuid():N}" });
        SplitRanks ranks = new(folder, plan, options, engine ?? Served.Options);
        for (int rank = 0; rank < plan.Attention + plan.Experts; rank++)
            ranks.backends.Add((device ?? Served.Cpu)());
        Task<ExpertWorker>[] experts = [.. Enumerable.Range(0, plan.Experts).Select(member => Long(() => ranks.Expert(member, Lagging(member == slowExpert))))];
        Task<AttentionRank>[] attention = [.. Enumerable.Range(0, plan.Attention).Select(member => Long(() => ranks.Attend(member, Lagging(member == slowAttention))))];
        ranks.Experts.AddRange(await Task.WhenAll(experts));
        ranks.Attention.AddRange(await Task.WhenAll(attention));
        for (int member = 0; member < plan.Attention; member++)
            ranks.Shells.Add(ranks.Shell(member));
        return ranks;

        MixtureOptions Lagging(bool slow) => slow ? options with { Lag = Lag } : options;
    }

    /// <summary>A rank with experts that has gone is started again.</summary>
    public async Task ReturnExpert(int member) => Experts[member] = await Long(() => Expert(member, options with { Rejoin = true }));

    /// <summary>A rank with attention that has gone is started again.</summary>
    public async Task ReturnAttention(int member)
    {
        Attention[member] = await Long(() => Attend(member, options with { Rejoin = true }));
        Shells[member] = Shell(member);
        gone.Remove(member);
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
        foreach (Backend backend in backends)
            backend.Dispose();
        checkpoint.Dispose();
    }

    private ExpertWorker Expert(int member, MixtureOptions how) =>
        ExpertWorker.Join(checkpoint, backends[plan.Attention + member], null, how, plan, member, engine.MaxBatchedTokens);

    private AttentionRank Attend(int member, MixtureOptions how) =>
        AttentionRank.JoinSplit(checkpoint, backends[member], new ModelOptions(MaxModelLength: 512, Drafts: engine.Speculation is not null), engine, how, plan, member);

    private TeShell Shell(int member) => new(Attention[member].Model, backends[member], null, engine, null, Attention[member].Domain);

    private static Task<T> Long<T>(Func<T> start) =>
        Task.Factory.StartNew(start, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
