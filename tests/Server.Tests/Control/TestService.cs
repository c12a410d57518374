using XDeepServe.FlowServe;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A service in this process: every member has a silo of its own and is reached through sockets, as another process would be.</summary>
internal sealed class TestService : IAsyncDisposable
{
    private readonly List<ClusterEngine> _fronts = [];
    private readonly List<ServiceNode> _frontNodes = [];
    private string? _folder; // of the model; null for the tiny one

    private TestService()
    {
    }

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static EngineOptions Engine { get; } = new() { MaxModelLength = 512, MaxSequences = 8, MaxBatchedTokens = 64, NumBlocksOverride = 192, QueueLimit = 4096 };

    public Dictionary<string, Member> Members { get; } = [];

    public ClusterEngine Front => _fronts[0];

    public ServiceNode FrontNode => _frontNodes[0];

    /// <summary>Starts a service.</summary>
    /// <param name="topology">As on the command line.</param>
    /// <param name="options">Changes the members' settings.</param>
    /// <param name="engine">Settings of a member's engine, by its name.</param>
    /// <param name="folder">The model's, from the repository's root; null for the tiny random one.</param>
    public static async Task<TestService> StartAsync(string topology, Func<ServiceOptions, ServiceOptions>? options = null, Func<string, EngineOptions>? engine = null, string? folder = null)
    {
        TestService service = new() { _folder = folder };
        await service.AddFrontAsync(options);
        await Task.WhenAll(Topology.Parse(topology).Workers.Select(worker => service.AddAsync(worker, options, engine?.Invoke(worker.Name) ?? Engine)));
        await service.Front.ReadyAsync(service.Members.Count, Cancel);
        return service;
    }

    public async Task<ClusterEngine> AddFrontAsync(Func<ServiceOptions, ServiceOptions>? options = null, EngineOptions? engine = null)
    {
        ServiceOptions own = Options($"front-{_fronts.Count}", options);
        ServiceNode node = await ServiceNode.StartAsync(own, null, Cancel);
        using TinyModel model = _folder is null ? TinyModel.Create() : TinyModel.Open(_folder, Engine);
        ClusterEngine front = node.OpenFrontEnd(model.Config, engine ?? Engine);
        _frontNodes.Add(node);
        _fronts.Add(front);
        return front;
    }

    public async Task AddAsync(WorkerSpec worker, Func<ServiceOptions, ServiceOptions>? options, EngineOptions engine, IStepDomain? domain = null)
    {
        Member member = new() { Node = await ServiceNode.StartAsync(Options(worker.Name, options), null, Cancel) };
        engine = engine with { LeadPrefill = worker.Role == WorkerRole.Prefill };
        member.Model = _folder is null ? TinyModel.Create(engine, published: member.Node.Published, domain: domain) : TinyModel.Open(_folder, engine, member.Node.Published, worker.Groups);
        lock (Members)
        {
            Members.Add(worker.Name, member);
        }
        member.Over = member.Node.Join(worker.Role, member.Model.Shell, "tiny");
    }

    /// <summary>Waits until no engine runs or holds anything.</summary>
    public Task IdleAsync() => ServerHost.UntilAsync(
        () => Task.FromResult(_fronts.TrueForAll(front => front.Unfinished == 0)
            && Members.Values.All(member => member.Model.Shell.Unfinished == 0 && member.Model.Shell.Metrics.All(group => group is { CacheUsage: 0, Held: 0, Arriving: 0 }))),
        "every request has ended and every cache block is free");

    public async ValueTask DisposeAsync()
    {
        foreach (ClusterEngine front in _fronts)
        {
            await front.DisposeAsync();
        }
        foreach (Member member in Members.Values)
        {
            await member.DisposeAsync();
        }
        // The first one holds the membership.
        foreach (ServiceNode node in Enumerable.Reverse(_frontNodes))
        {
            await node.DisposeAsync();
        }
    }

    private ServiceOptions Options(string name, Func<ServiceOptions, ServiceOptions>? change)
    {
        ServiceOptions options = new() { Worker = name, Primary = _frontNodes.Count == 0 ? null : _frontNodes[0].EndPoint };
        return change?.Invoke(options) ?? options;
    }

    internal sealed class Member : IAsyncDisposable
    {
        private bool _disposed;

        public required ServiceNode Node { get; init; }

        public TinyModel Model { get; set; } = null!;

        public Task<string?> Over { get; set; } = null!;

        public async ValueTask DisposeAsync()
        {
            if (_disposed)
            {
                return;
            }
            _disposed = true;
            await Node.LeaveAsync();
            Model.Dispose();
            await Node.DisposeAsync();
        }
    }
}
