using System.CommandLine;
using System.Net;
using Microsoft.Extensions.Logging;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models.Loading;
using XDeepServe.Server;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Tracing;
using XDeepServe.Transformerless;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Cli.Service;

/// <summary><c>xds worker</c>: one process of a service of many.</summary>
internal sealed class WorkerCommand : Command
{
    private const int Fault = 75;
    private static readonly TimeSpan s_drainPatience = TimeSpan.FromSeconds(30);
    private readonly Argument<string?> model = new("model") { Description = "Folder or GGUF file of the model (default: the embedded nano-moe).", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<string> role = EngineFlags.Choice("--role", "What it does: prefill, decode, colocated (both), frontend (answers clients), attention (without experts), expert (experts alone) or rank (both, with a share of the experts).", "colocated", "colocated", "prefill", "decode", "frontend", "attention", "expert", "rank");
    private readonly Option<string?> name = new("--name") { Description = "Names the worker; unique within the service (default: role, host and process)." };
    private readonly Option<string?> cores = new("--cores") { Description = "Processor cores to keep to, such as 0-3,8." };
    private readonly Option<bool> fetch = new("--fetch-model") { Description = "Where the model's folder is not there, get its files from a running worker of the service." };
    private readonly Option<bool> standby = new("--standby") { Description = "Load the model, but take no requests before a line comes on standard input: a launcher's spare worker.", Hidden = true };
    private readonly Option<string?> reward = ServedJudge.Flag();
    private readonly TaskCompletionSource called = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Option<bool> untilEof = new("--until-eof") { Description = "End when standard input ends: a launcher's workers end with it." };
    private readonly MixtureFlags mixture;
    private readonly ClusterFlags cluster;
    private readonly ServerFlags server;
    private readonly TraceFlags trace;
    private readonly EngineFlags engine;

    public WorkerCommand() : base("worker", "Runs one process of a service: xds worker --role decode --cluster redis://host:port.")
    {
        Arguments.Add(model);
        foreach (Option option in new Option[] { role, name, cores, fetch, untilEof, standby, reward })
            Options.Add(option);
        mixture = new MixtureFlags(this, launches: false);
        cluster = new ClusterFlags(this);
        server = new ServerFlags(this);
        trace = new TraceFlags(this);
        engine = new EngineFlags(this);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        WorkerRole mine = Enum.Parse<WorkerRole>(result.GetValue(role)!, ignoreCase: true);
        if (result.GetValue(cores) is { } list)
            CpuCores.KeepTo(TopologyFile.ParseCores(list));
        EngineSettings settings = engine.Read(result, result.GetValue(model));
        ServedJudge.Check(result.GetValue(reward), settings);
        ServiceOptions service = cluster.Read(result, result.GetValue(name) ?? $"{mine}-{Dns.GetHostName()}-{Environment.ProcessId}".ToLowerInvariant())
            ?? throw new ArgumentException("A worker needs --cluster: redis://host:port, or the host:port that 'xds serve --topology' shows.");
        using TraceExport? traces = trace.Start(result, service.Worker);
        bool launched = result.GetValue(untilEof);
        using Interruption interruption = new(launched);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(interruption.Stop);
        if (launched)
            _ = ListenAsync(stop);
        try
        {
            if (result.GetValue(fetch) && !Path.Exists(settings.Path))
                await FetchAsync(settings.Path, service, stop.Token);
            if (mine == WorkerRole.Expert)
                return await RunExpertsAsync(result, settings, stop.Token);
            return mine == WorkerRole.Frontend
                ? await AnswerAsync(await server.ReadAsync(result, settings, cancel), settings, result.GetValue(reward), service, stop.Token, interruption.Hurry)
                : await ExecuteAsync(result, mine, settings, service, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 0;
        }
    }

    /// <summary>Gets the model from the service, as a member that is gone again before this worker joins.</summary>
    private static async Task FetchAsync(string folder, ServiceOptions service, CancellationToken stop)
    {
        await using ServiceNode node = await ServiceNode.StartAsync(service, ServiceLog.Add, stop);
        await node.FetchModelAsync(folder, line => Console.Error.WriteLine($"{service.Worker}: {line}"), stop);
    }

    /// <summary>Experts take no requests, so they are no part of the service's control plane: rows come and go through XCCL alone.</summary>
    private async Task<int> RunExpertsAsync(ParseResult result, EngineSettings settings, CancellationToken stop)
    {
        MixtureSettings share = mixture.Read(result, WorkerRole.Expert);
        using Checkpoint checkpoint = Checkpoint.Open(settings.Path, settings.Format, nameRandom: settings.Cuda is not null);
        using Backend backend = settings.Cuda is { } cuda ? new CudaBackend(cuda) : new CpuBackend(settings.Cpu);
        using ExpertWorker worker = await Task.Run(
            () => ExpertWorker.Join(checkpoint, backend, settings.Model.Quantization, share.Options, share.Plan!, share.Member, settings.Engine.MaxBatchedTokens), stop);
        while (worker.Failure is null && !stop.IsCancellationRequested)
            await Task.WhenAny(Task.Delay(TimeSpan.FromMilliseconds(200), stop));
        return stop.IsCancellationRequested ? 0 : throw new IOException($"These experts serve no longer: {worker.Failure!.Message}", worker.Failure);
    }

    private async Task<int> ExecuteAsync(ParseResult result, WorkerRole role, EngineSettings settings, ServiceOptions service, CancellationToken stop)
    {
        Func<Checkpoint, Backend, AttentionRank>? join = null;
        if (role is WorkerRole.Attention or WorkerRole.Rank)
        {
            MixtureSettings share = mixture.Read(result, role);
            join = (checkpoint, backend) => share.Plan is { } plan
                ? AttentionRank.JoinSplit(checkpoint, backend, settings.Model, settings.Engine, share.Options, plan, share.Member)
                : AttentionRank.JoinColocated(checkpoint, backend, settings.Model, settings.Engine, share.Options, share.Member, share.Ranks);
            role = share.PrefillElsewhere ? WorkerRole.Decode : WorkerRole.Colocated; // what it is to those who send requests
        }
        // The silo starts while the model is loaded.
        Task<ServiceNode> starting = Task.Run(() => ServiceNode.StartAsync(service, ServiceLog.Add, stop), stop);
        ServiceNode? node = null;
        LoadedEngine? loaded = null;
        try
        {
            settings = settings with { Engine = settings.Engine with { LeadPrefill = role == WorkerRole.Prefill } };
            loaded = LoadedEngine.Open(settings, group => Volatile.Read(ref node)?.Published(group), join);
            Volatile.Write(ref node, await starting);
            if (result.GetValue(standby))
                await called.Task.WaitAsync(stop);
            Task<string?> over = node.Join(role, loaded.Shell, settings.Path);
            if (await over.WaitAsync(stop) is { } fault)
            {
                await Console.Error.WriteLineAsync($"xds: {service.Worker} ends: {fault}.");
                Environment.Exit(Fault); // what hangs cannot be waited for
            }
            await node.DrainAsync(s_drainPatience);
            return 0;
        }
        finally
        {
            // First it is out of the service, so that front ends take elsewhere what still runs here.
            if (node is not null)
                await node.LeaveAsync();
            loaded?.Dispose();
            if (node is not null)
                await node.DisposeAsync();
        }
    }

    private static async Task<int> AnswerAsync(ServerOptions options, EngineSettings settings, string? reward, ServiceOptions service, CancellationToken stop, CancellationToken hurry)
    {
        using FrontModel model = FrontModel.Open(settings);
        await using ServiceNode node = await ServiceNode.StartAsync(service, ServiceLog.Add, stop);
        await using ClusterEngine engine = node.OpenFrontEnd(model.Config, model.Engine);
        await using XdsServer server = XdsServer.Build(options, ServiceLog.Add);
        ServedJudge? judge = null;
        try
        {
            await server.RunAsync(
                async token =>
                {
                    await engine.ReadyAsync(1, token);
                    ServedModel served = model.Serve(engine, options);
                    judge = reward is null ? null : ServedJudge.Open(reward, settings, served);
                    return served with { Rewards = judge?.Rewards, RewardsSeeImages = judge?.SeesImages == true };
                },
                stop, hurry);
        }
        finally
        {
            judge?.Dispose();
        }
        return 0;
    }

    /// <summary>The launcher says one thing, that a spare worker is needed; that its end of the pipe ends is the other.</summary>
    private async Task ListenAsync(CancellationTokenSource stop)
    {
        await using Stream input = Console.OpenStandardInput();
        byte[] ignored = new byte[256];
        while (await input.ReadAsync(ignored) > 0)
            called.TrySetResult();
        await stop.CancelAsync();
    }
}
