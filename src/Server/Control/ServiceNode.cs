using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;
using StackExchange.Redis;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Models;
using XDeepServe.Server.Control.Executor;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Control.Weights;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control;

/// <summary>This process as a member of a service: an Orleans silo. Decisions travel through it; keys and values never do.</summary>
public sealed class ServiceNode : IAsyncDisposable
{
    private const int PortAttempts = 8;
    private static readonly TimeSpan s_rejoinInterval = TimeSpan.FromSeconds(2), s_retryInterval = TimeSpan.FromMilliseconds(200);
    private readonly IHost _host;
    private readonly ServiceOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private volatile TaskExecutor? _executor;
    private Task _joining = Task.CompletedTask;
    private DistFlow? _flow;
    private ModelShare? _share;

    private ServiceNode(IHost host, ServiceOptions options, IPEndPoint endPoint) => (_host, _options, EndPoint) = (host, options, endPoint);

    /// <summary>Where other processes reach this one.</summary>
    public IPEndPoint EndPoint { get; }

    /// <summary>Task Executors that are known here, by worker name.</summary>
    public IReadOnlyList<string> Executors => [.. View.Executors.Select(seen => seen.Info.Name)];

    /// <summary>Called with a worker's name when its Task Executor is ready.</summary>
    public event Action<string>? Joined
    {
        add => View.Joined += value;
        remove => View.Joined -= value;
    }

    /// <summary>Becomes a member.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="logging">Adds log providers.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="IOException">The service cannot be reached, or no port is free.</exception>
    public static async Task<ServiceNode> StartAsync(ServiceOptions options, Action<ILoggingBuilder>? logging, CancellationToken cancel)
    {
        for (int attempt = 1; ; attempt++)
        {
            IPEndPoint endPoint = new(options.Address, options.Port == 0 ? FreePort(options.Address) : options.Port);
            IHost host = Silo.Build(options, endPoint, logging);
            try
            {
                await host.StartAsync(cancel).ConfigureAwait(false);
                return new ServiceNode(host, options, endPoint);
            }
            catch (RedisConnectionException failure)
            {
                host.Dispose();
                throw new IOException($"No Redis server answers at {options.Redis} (--cluster): start one there, or name another.", failure);
            }
            catch (Exception failure) when (failure is SocketException or IOException or OrleansException or AggregateException)
            {
                host.Dispose();
                bool taken = failure is SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse } or IOException { InnerException: SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse } };
                if (!taken || options.Port != 0 || attempt == PortAttempts)
                {
                    throw new IOException($"{options.Worker} cannot join the service at {options.Redis ?? (options.Primary ?? endPoint).ToString()}: {failure.Message}", failure);
                }
            }
        }
    }

    /// <summary>Makes this process a front end.</summary>
    /// <param name="model">The model that the service runs.</param>
    /// <param name="options">Settings of the engines.</param>
    public ClusterEngine OpenFrontEnd(ModelConfig model, EngineOptions options) =>
        new(_options, _host.Services.GetRequiredService<IGrainFactory>(), _host.Services.GetRequiredService<ClusterPlace>(), View, model, options, Log);

    /// <summary>A DP group of this process's engine has turned: its output is sent. For <see cref="TeShell"/>.</summary>
    public void Published(int group) => _executor?.Flush();

    /// <summary>Makes this process's engine a Task Executor of the service.</summary>
    /// <param name="role">What it does.</param>
    /// <param name="shell">The engine, which calls <see cref="Published"/>; stays the caller's.</param>
    /// <param name="model">The model's folder or GGUF file: names it, and is where other hosts' workers may get it from.</param>
    /// <returns>Ends when the Task Executor was told to retire (null), or cannot go on: then with the reason, and this process must end without waiting for the engine.</returns>
    public Task<string?> Join(WorkerRole role, TeShell shell, string model)
    {
        SiloAddress silo = _host.Services.GetRequiredService<ILocalSiloDetails>().SiloAddress;
        ExecutorInfo info = new()
        {
            Id = ExecutorId.Of(_options.Worker, silo),
            Name = _options.Worker,
            Role = role,
            Pid = Environment.ProcessId,
            Host = Dns.GetHostName(),
            Model = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(model))),
            Groups = shell.Metrics.Count,
            RequestLimit = shell.Options.QueueLimit + shell.Options.MaxSequences * shell.Metrics.Count,
            CacheBlocks = shell.CacheBlocks,
            BlockSize = shell.Options.BlockSize,
            MaxModelLength = shell.Options.MaxModelLength,
            MaxBatchedTokens = shell.Options.MaxBatchedTokens,
            LongPrompt = shell.Options.LongPrompt,
        };
        IGrainFactory grains = _host.Services.GetRequiredService<IGrainFactory>();
        _flow = new DistFlow(shell, info.Id, (owner, link, cancel) => grains.GetGrain<ITaskExecutor>(owner).Link(link).WaitAsync(cancel));
        _share = new ModelShare(model, _options.Address);
        TaskExecutor executor = new(info, shell, _flow, _share, _options, Log);
        _host.Services.GetRequiredService<ExecutorSlot>().Fill(executor);
        _executor = executor;
        _joining = KeepJoinedAsync(executor);
        return executor.Over;
    }

    /// <summary>Tells the service that a worker's process has ended, before anyone waits for it.</summary>
    /// <param name="worker">The worker's name.</param>
    /// <param name="reason">Why.</param>
    public async Task ReportExitAsync(string worker, string reason)
    {
        foreach (SeenExecutor seen in View.Executors.Where(seen => seen.Info.Name == worker))
        {
            View.Apply(new ClusterUpdate { Members = [], Gone = [new Departure(seen.Info.Id, reason)] });
            if (_options.Redis is null)
            {
                // Else its next life would wait for an answer of the last one before it may join, and calls that it was to pass on would hang.
                await TryAsync(_host.Services.GetRequiredService<IClusterMembershipService>().TryKill(ExecutorId.SiloOf(seen.Info.Id))).ConfigureAwait(false);
            }
            await TryAsync(Cluster.Leave(seen.Info.Id, reason)).ConfigureAwait(false);
        }

        // Where several have ended at once an answer may not come; then their silence tells, a little later.
        static async Task TryAsync(Task call)
        {
            try
            {
                await call.WaitAsync(TimeSpan.FromSeconds(2)).ConfigureAwait(false);
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                Unreachable.Watch(call);
            }
        }
    }

    /// <summary>Brings the files of the service's model to this host, from whichever Task Executor has the least to do, or the next one if that ends.</summary>
    /// <param name="folder">The folder that is to be there.</param>
    /// <param name="say">Told what happens.</param>
    /// <param name="cancel">Gives up; what has come stays for the next time.</param>
    /// <exception cref="IOException">Nobody has them, or this host cannot take them; says what to do.</exception>
    public async Task FetchModelAsync(string folder, Action<string> say, CancellationToken cancel)
    {
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        using ModelFetch fetch = new(folder);
        string trouble = "no worker that has them has joined";
        long moved = Stopwatch.GetTimestamp(), before = 0;
        while (!Directory.Exists(folder))
        {
            try
            {
                foreach (ExecutorInfo member in (await Cluster.Members().ConfigureAwait(false)).TakeWhile(_ => !Directory.Exists(folder)))
                {
                    trouble = await TryFetchAsync(fetch, member, say, cancel).ConfigureAwait(false) ?? trouble;
                }
            }
            catch (Exception failure) when (Unreachable.Is(failure) && !cancel.IsCancellationRequested)
            {
                trouble = failure.Message;
            }
            (moved, before) = fetch.Received > before ? (Stopwatch.GetTimestamp(), fetch.Received) : (moved, before);
            if (Stopwatch.GetElapsedTime(moved) > _options.PlacementPatience)
            {
                throw new IOException($"The files of the service's model could not be fetched into {folder}: {trouble}. What has come lies beside it and is used the next time.");
            }
            await Task.Delay(s_retryInterval, cancel).ConfigureAwait(false);
        }
        say($"the model is in {folder}, {fetch.Received >> 20} MiB of it fetched just now");
    }

    /// <summary>Has the cluster decide whether a role needs a worker more or less: what it decides is desired from here on.</summary>
    /// <param name="role">The role.</param>
    /// <param name="settings">Bounds.</param>
    /// <param name="workers">Workers that it has, those included that are starting, without those that are about to end.</param>
    public Task ScaleAsync(WorkerRole role, AutoscaleSettings settings, int workers) =>
        AskAsync(async () =>
        {
            await Cluster.Scale(new ScaleQuestion { Role = role, Settings = settings, Workers = workers }).ConfigureAwait(false);
            return true;
        }, false);

    /// <summary>Makes this process the service's launcher.</summary>
    /// <param name="desired">How many workers each role is to have.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="IOException">Another one is.</exception>
    public async Task LaunchAsync(DesiredWorkers desired, CancellationToken cancel)
    {
        // One that has just died counts for a while.
        long start = Stopwatch.GetTimestamp();
        while (await AskAsync(() => Model.Meet(Launcher, desired), null).ConfigureAwait(false) is null)
        {
            if (Stopwatch.GetElapsedTime(start) > _options.HeartbeatPatience * 2)
            {
                throw new IOException($"The service '{_options.Name}' has a launcher already: start more of its processes with 'xds worker', or name another service with --service-name.");
            }
            await Task.Delay(s_retryInterval, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>Tells as the launcher what is desired as far as it knows, and learns what is.</summary>
    /// <returns>What is desired; <paramref name="known"/> where the service does not answer.</returns>
    public async Task<DesiredWorkers> MeetAsync(DesiredWorkers known) => await AskAsync(() => Model.Meet(Launcher, known), null).ConfigureAwait(false) ?? known;

    /// <summary>Of some workers the one that has the least to bring to an end.</summary>
    /// <returns>Its name; null if none of them serves, or the service does not answer.</returns>
    public Task<string?> LeastAsync(IEnumerable<string> workers) => AskAsync(() => Cluster.Least([.. workers]), null);

    /// <summary>Has a worker take no more requests and end when it has done those that it has.</summary>
    /// <param name="worker">The worker's name.</param>
    public async Task RetireAsync(string worker)
    {
        foreach (SeenExecutor seen in View.Executors.Where(seen => seen.Info.Name == worker))
        {
            try
            {
                await _host.Services.GetRequiredService<IGrainFactory>().GetGrain<ITaskExecutor>(seen.Info.Id).Retire().ConfigureAwait(false);
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                Log.LogDebug(failure, "{Executor} has ended already.", seen.Info.Id);
            }
        }
    }

    /// <summary>Waits for what this process's Task Executor still has, and takes nothing new.</summary>
    public Task DrainAsync(TimeSpan patience) => _executor?.DrainAsync(patience) ?? Task.CompletedTask;

    /// <summary>Takes this process's Task Executor out of the service and ends its links; before its engine is disposed.</summary>
    public async Task LeaveAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _joining.ConfigureAwait(false);
        if (_executor is { } executor)
        {
            _executor = null;
            _host.Services.GetRequiredService<ExecutorSlot>().Empty();
            try
            {
                await Cluster.Leave(executor.Info.Id, "it was stopped").WaitAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(false);
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                // Heart-beats that are not answered say it too.
            }
        }
        if (_share is { } share)
        {
            await share.DisposeAsync().ConfigureAwait(false);
        }
        _flow?.Dispose();
    }

    /// <summary>Leaves the service within some seconds: a silo would ask a membership table that does not answer for two minutes.</summary>
    public async ValueTask DisposeAsync()
    {
        await LeaveAsync().ConfigureAwait(false);
        ILogger log = Log; // the host that has it may be gone by then
        try
        {
            await Task.Run(EndAsync).WaitAsync(TimeSpan.FromSeconds(6)).ConfigureAwait(false);
        }
        catch (TimeoutException failure)
        {
            log.LogDebug(failure, "The others find by its heart-beats that this process is gone.");
        }
        _stop.Dispose();
    }

    private ClusterView View => _host.Services.GetRequiredService<ClusterView>();

    private IModel Model => _host.Services.GetRequiredService<ClusterPlace>().Model;

    private string Launcher => $"{_options.Worker}@{EndPoint}";

    private ICluster Cluster => _host.Services.GetRequiredService<ClusterPlace>().Grain;

    private ILogger Log => _host.Services.GetRequiredService<ILoggerFactory>().CreateLogger("XDeepServe.Control");

    private async Task EndAsync()
    {
        await _host.StopAsync(TimeSpan.FromSeconds(3)).ConfigureAwait(false);
        _host.Dispose();
    }

    private async Task<T> AskAsync<T>(Func<Task<T>> question, T unanswered)
    {
        try
        {
            return await question().ConfigureAwait(false);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            Log.LogDebug(failure, "The cluster did not answer.");
            return unanswered;
        }
    }

    /// <returns>What went wrong; null if nothing did.</returns>
    private async Task<string?> TryFetchAsync(ModelFetch fetch, ExecutorInfo member, Action<string> say, CancellationToken cancel)
    {
        try
        {
            if (await _host.Services.GetRequiredService<IGrainFactory>().GetGrain<ITaskExecutor>(member.Id).Offer().ConfigureAwait(false) is not { } offer)
            {
                return null;
            }
            say($"fetching {member.Model}, {offer.Files.Sum(file => file.Bytes) >> 20} MiB, from {member.Name}");
            await fetch.RunAsync(offer, cancel).ConfigureAwait(false);
            return null;
        }
        catch (Exception failure) when ((failure is HttpRequestException || Unreachable.Is(failure)) && !cancel.IsCancellationRequested)
        {
            say($"{member.Name} does not give the model: {failure.Message}");
            return $"{member.Name}: {failure.Message}";
        }
    }

    /// <summary>Says again and again that it is here: the cluster grain may have begun a new life.</summary>
    private async Task KeepJoinedAsync(TaskExecutor executor)
    {
        try
        {
            while (true)
            {
                TimeSpan pause = s_rejoinInterval;
                try
                {
                    await Cluster.Join(executor.Info).ConfigureAwait(false);
                }
                catch (Exception failure) when (Unreachable.Is(failure))
                {
                    // A silo that has just started does not know yet where grains may be.
                    pause = s_retryInterval;
                    Log.LogDebug(failure, "The cluster did not answer.");
                }
                await Task.Delay(pause, _stop.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // This process leaves.
        }
    }

    private static int FreePort(IPAddress address)
    {
        using Socket probe = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(address, 0));
        return ((IPEndPoint)probe.LocalEndPoint!).Port;
    }
}
