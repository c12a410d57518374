using System.CommandLine;
using System.Globalization;
using XDeepServe.Cli.Service;
using XDeepServe.Server;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Tracing;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli;

/// <summary><c>xds serve</c>: answers OpenAI clients, with an engine in this process or a service of many.</summary>
internal sealed class ServeCommand : Command
{
    private readonly Argument<string?> model = new("model") { Description = "Folder or GGUF file of the model (default: the embedded nano-moe).", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<string?> topology = new("--topology") { Description = "Worker processes to start: 2 (colocated), 2xDP (one with two DP groups), 2P2D (prefill and decode), 2EP (ranks that share experts), 4A3E:2domains (attention and experts apart), 1P+2A2E, or a YAML file (default: none, this process does it all)." };
    private readonly Option<string?> reward = ServedJudge.Flag();
    private readonly MixtureFlags mixture;
    private readonly ClusterFlags cluster;
    private readonly ScaleFlags scale;
    private readonly ServerFlags server;
    private readonly TraceFlags trace;
    private readonly EngineFlags engine;

    public ServeCommand() : base("serve", "Serves a model to OpenAI clients over HTTP.")
    {
        Arguments.Add(model);
        Options.Add(topology);
        Options.Add(reward);
        mixture = new MixtureFlags(this, launches: true);
        cluster = new ClusterFlags(this);
        scale = new ScaleFlags(this);
        server = new ServerFlags(this);
        trace = new TraceFlags(this);
        engine = new EngineFlags(this);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result, result.GetValue(model));
        ServedJudge.Check(result.GetValue(reward), settings);
        ServerOptions options = await server.ReadAsync(result, settings, cancel);
        using TraceExport? traces = trace.Start(result, "frontend");
        using Interruption interruption = new();
        try
        {
            if (result.GetValue(topology) is { } text)
                await ServeManyAsync(result, scale.Read(result, Topology.Parse(text)), settings, options, interruption);
            else if (GivenFlags.Of(result, [.. cluster.Options, .. scale.Options, .. mixture.Shared]).FirstOrDefault() is { } flag)
                throw new ArgumentException($"{flag} is for a service of many processes: give --topology, too.");
            else
                await ServeOneAsync(settings, result.GetValue(reward), options, interruption);
        }
        catch (OperationCanceledException) when (interruption.Stop.IsCancellationRequested)
        {
            // Asked to stop while the model was loading: nothing was promised to anyone yet.
        }
        return 0;
    }

    private static async Task ServeOneAsync(EngineSettings settings, string? reward, ServerOptions options, Interruption interruption)
    {
        LoadedEngine? loaded = null;
        ServedJudge? judge = null;
        XdsServer http = XdsServer.Build(options, ServiceLog.Add);
        try
        {
            await http.RunAsync(token => Task.Run(Load, token), interruption.Stop, interruption.Hurry);
        }
        finally
        {
            await http.DisposeAsync();
            judge?.Dispose();
            loaded?.Dispose();
        }

        ServedModel Load()
        {
            ServedModel served = Serve(loaded = LoadedEngine.Open(settings), settings, options);
            if (reward is null)
                return served;
            judge = ServedJudge.Open(reward, settings, served);
            return served with { Rewards = judge.Rewards, RewardsSeeImages = judge.SeesImages };
        }
    }

    private async Task ServeManyAsync(ParseResult result, Topology workers, EngineSettings settings, ServerOptions options, Interruption interruption)
    {
        if (workers.SharesExperts && settings.Groups > 1)
            throw new ArgumentException("A worker that shares experts with others is one DP group: name more workers in --topology instead of --data-parallel-size.");
        using FrontModel front = FrontModel.Open(settings);
        mixture.Check(result, workers, front.Config);
        ServiceOptions service = cluster.ReadOrOwn(result, "launcher");
        await using XdsServer http = XdsServer.Build(options, ServiceLog.Add);
        ServiceNode? node = null;
        ClusterEngine? many = null;
        Launcher? launcher = null;
        ServedJudge? judge = null;
        try
        {
            // All doors close at once.
            using CancellationTokenRegistration closing = interruption.Stop.Register(() => launcher?.CloseDoors());
            await http.RunAsync(LoadAsync, interruption.Stop, interruption.Hurry);
        }
        finally
        {
            judge?.Dispose();
            if (launcher is not null)
                await launcher.DisposeAsync();
            if (many is not null)
                await many.DisposeAsync();
            if (node is not null)
                await node.DisposeAsync();
        }

        async Task<ServedModel> LoadAsync(CancellationToken stop)
        {
            node = await ServiceNode.StartAsync(service, ServiceLog.Add, stop);
            if (service is { Redis: null, Primary: null })
                Console.Error.WriteLine($"Other workers join with --cluster {node.EndPoint}");
            DesiredWorkers desired = new(0, workers.Workers.Where(spec => RoleScaling.Fits(spec.Role) && !workers.SharesExperts).CountBy(spec => spec.Role).ToDictionary());
            await node.LaunchAsync(desired, stop);
            many = node.OpenFrontEnd(front.Config, front.Engine);
            launcher = new Launcher(workers, node, spec => WorkerArguments(result, spec, workers, node), interruption.Hurry);
            launcher.Start();
            using CancellationTokenSource ready = CancellationTokenSource.CreateLinkedTokenSource(stop);
            Task watch = launcher.WatchStartAsync(ready.Token);
            await await Task.WhenAny(many.ReadyAsync(launcher.Executors, ready.Token), watch);
            await ready.CancelAsync();
            launcher.Follow(desired, workers.Scaling);
            ServedModel served = front.Serve(many, options);
            if (result.GetValue(reward) is not { } chosen)
                return served;
            judge = ServedJudge.Open(chosen, settings, served);
            return served with { Rewards = judge.Rewards, RewardsSeeImages = judge.SeesImages };
        }
    }

    private List<string> WorkerArguments(ParseResult result, WorkerSpec spec, Topology workers, ServiceNode node)
    {
        List<string> arguments =
        [
            "worker", engine.PathOf(result, result.GetValue(model)), "--role", spec.Role.ToString().ToLowerInvariant(), "--name", spec.Name, "--until-eof",
            .. cluster.ForWorkers(result, node.EndPoint),
            .. trace.ForWorkers(result),
            .. engine.ForWorkers(result, spec, workers.Workers.Count(other => other.Role != WorkerRole.Frontend)),
        ];
        if (spec.Cores.Count > 0)
            arguments.AddRange(["--cores", string.Join(',', spec.Cores)]);
        if (spec.Role is WorkerRole.Attention or WorkerRole.Expert or WorkerRole.Rank)
            arguments.AddRange(mixture.ForWorker(result, workers, spec));
        if (spec.Role == WorkerRole.Frontend)
            arguments.AddRange([.. server.ForWorkers(result), "--port", spec.Port.ToString(CultureInfo.InvariantCulture), .. result.GetValue(reward) is { } chosen ? new[] { "--reward-model", chosen } : []]);
        return arguments;
    }

    private static ServedModel Serve(LoadedEngine loaded, EngineSettings settings, ServerOptions options)
    {
        Console.Error.WriteLine($"{settings.Name}: {loaded.Model.Config.Family}, {loaded.Model.WeightBytes / 1048576.0:F0} MiB of weights, {loaded.Shell.CacheBytes / 1048576.0:F0} MiB of KV cache ({loaded.Shell.CacheBlocks} blocks); {loaded.Backend.Description}");
        return FrontModel.Serve(loaded.Checkpoint, loaded.Model.Config, loaded.Tokenizer, loaded.Shell, options);
    }
}
