using System.CommandLine;
using System.Globalization;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Models;
using XDeepServe.Transformerless;
using XDeepServe.Transformerless.Mixture;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Cli.Service;

/// <summary>The flags of workers that share experts with others, and of who launches them.</summary>
internal sealed class MixtureFlags
{
    private readonly Option<string?> sharing = new("--expert-sharing") { Description = "Workers of the service that share experts, such as 4EP, 4A3E:2domains or 1P+2A2E." };
    private readonly Option<string?> group = new("--expert-group") { Description = "Names their groups on this host: the same for all of one service." };
    private readonly Option<int> member = new("--member") { Description = "This worker's number among those of its role, from 0." };
    private readonly Option<bool> rejoin = new("--rejoin") { Description = "Come back into a service that goes on without this worker, instead of starting with the others." };
    private readonly Option<int> microBatches = new("--micro-batches") { Description = "Micro-batches of a step where experts are on other workers, too: 1, 2, or 0 to go by measured times." };
    private readonly Option<string> dispatchWire = EngineFlags.Choice("--dispatch-wire", "Rows on their way to experts elsewhere; float32 keeps every bit.", "float32", "float32", "bfloat16", "int8");
    private readonly Option<string> combineWire = EngineFlags.Choice("--combine-wire", "Rows on their way back.", "float32", "float32", "bfloat16", "int8");
    private readonly Option<string> sharedExperts = EngineFlags.Choice("--shared-experts", "Where shared experts are: attention, with the ranks whose tokens they are, or experts, a copy on every rank with experts, to which rows travel as to the others.", "attention", "attention", "experts");
    private readonly Option<int> redundant = new("--redundant-experts") { Description = "Slots of each worker with experts for copies of busy experts, which follow the load (EPLB)." };
    private readonly Option<string> algorithm = EngineFlags.Choice("--eplb-algorithm", "How copies are chosen: time-sliced (the paper's), or DeepSeek's, which move experts, too: global, or hierarchical (the model's groups of experts stay on one node each).", "time-sliced", "time-sliced", "global", "hierarchical");
    private readonly Option<int> nodes = new("--eplb-nodes") { Description = "Nodes for hierarchical: neighbouring workers share one, evenly.", DefaultValueFactory = _ => 1 };
    private readonly Option<double> period = new("--eplb-period") { Description = "Seconds between two looks at the load.", DefaultValueFactory = _ => 60 };
    private readonly Option<double> threshold = new("--eplb-threshold") { Description = "Nothing is moved while the mean load is at least this share of the largest.", DefaultValueFactory = _ => 0.9 };
    private readonly Option<int> least = new("--eplb-least-tokens") { Description = "Nothing is moved while steps have fewer tokens for each worker with experts.", DefaultValueFactory = _ => 128 };
    private readonly Option<string?> lag = new("--lag") { Description = "Makes one worker slow on purpose, such as expert-1=10: milliseconds of each batch.", Hidden = true };

    /// <summary>Adds the flags to a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="launches">Whether it launches the workers, rather than being one.</param>
    public MixtureFlags(Command command, bool launches)
    {
        foreach (Option option in launches ? Shared : [sharing, group, member, rejoin, .. Shared])
            command.Options.Add(option);
    }

    /// <summary>Those that launcher and workers have in common.</summary>
    public IReadOnlyList<Option> Shared => [microBatches, sharedExperts, dispatchWire, combineWire, redundant, algorithm, nodes, period, threshold, least, lag];

    /// <summary>A launched worker's flags.</summary>
    public IEnumerable<string> ForWorker(ParseResult result, Topology topology, WorkerSpec spec)
    {
        string prefill = topology.Count(WorkerRole.Prefill) is > 0 and int count ? $"{count}P+" : "";
        string sharers = topology.Apart is { } plan ? $"{plan.Attention}A{plan.Experts}E:{plan.Domains}domains" : $"{topology.Ranks}EP";
        int number = topology.Workers.Where(other => other.Role == spec.Role).ToList().IndexOf(spec);
        return
        [
            "--expert-sharing", prefill + sharers,
            "--expert-group", string.Create(CultureInfo.InvariantCulture, $"xds_{Environment.ProcessId}"),
            "--member", number.ToString(CultureInfo.InvariantCulture),
            .. GivenFlags.Of(result, Shared),
        ];
    }

    /// <summary>Checks what a launcher's workers will be told, before any is started.</summary>
    /// <exception cref="ArgumentException">It cannot be.</exception>
    public void Check(ParseResult result, Topology topology, ModelConfig config)
    {
        int ranks = topology.Apart?.Experts ?? topology.Ranks;
        _ = Lag(result, "");
        if (ranks > 0)
            new MixtureOptions { Name = "", Balancing = Balancing(result, ranks) }.For(config, ranks);
        if (ranks > 0 && SharedAt(result) == SharedPlacement.Experts && config.Experts is { Shared: 0 })
            Console.Error.WriteLine("xds: this model has no shared experts: --shared-experts experts changes nothing.");
    }

    /// <summary>Reads the flags.</summary>
    /// <exception cref="ArgumentException">Something is missing or cannot be.</exception>
    public MixtureSettings Read(ParseResult result, WorkerRole role)
    {
        if (result.GetValue(sharing) is not { } text || Topology.Parse(text) is not { SharesExperts: true } topology)
            throw new ArgumentException("A worker that shares experts needs --expert-sharing, such as 4EP or 4A3E:2domains, with --expert-group and --member.");
        int number = result.GetValue(member), most = topology.Count(role);
        if (most == 0)
            throw new ArgumentException($"{text} has no worker with --role {role.ToString().ToLowerInvariant()}.");
        if (number < 0 || number >= most)
            throw new ArgumentException($"--member must be between 0 and {most - 1} in {text}, not {number}.");
        MixtureOptions options = new()
        {
            Name = result.GetValue(group) ?? throw new ArgumentException("A worker that shares experts needs --expert-group, the same for all of one service."),
            Rejoin = result.GetValue(rejoin),
            Redundant = result.GetValue(redundant),
            SharedExperts = SharedAt(result),
            MicroBatches = result.GetValue(microBatches),
            DispatchWire = WireOf(result.GetValue(dispatchWire)!),
            CombineWire = WireOf(result.GetValue(combineWire)!),
            Balancing = Balancing(result, topology.Apart?.Experts ?? topology.Ranks),
            Lag = Lag(result, Topology.NameOf(role, number)),
            Log = line => Console.Error.WriteLine($"xds: {line}"),
        };
        return new MixtureSettings(topology.Apart, topology.Ranks, number, topology.Count(WorkerRole.Prefill) > 0, options);
    }

    private BalancerOptions? Balancing(ParseResult result, int experts)
    {
        int slots = result.GetValue(redundant);
        double seconds = result.GetValue(period), share = result.GetValue(threshold);
        if (slots is < 0 or > 1024)
            throw new ArgumentException($"--redundant-experts must be between 0 and 1024, not {slots}.");
        if (!(seconds >= 0.1) || seconds > 86400)
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"--eplb-period must be between 0.1 and 86400 seconds, not {seconds}."));
        if (!(share is >= 0 and <= 1))
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"--eplb-threshold must be between 0 and 1, not {share}."));
        if (result.GetValue(nodes) < 1 || (result.GetValue(nodes) > 1 && result.GetValue(algorithm) != "hierarchical"))
            throw new ArgumentException($"--eplb-nodes is at least 1, and goes with --eplb-algorithm hierarchical, not {result.GetValue(algorithm)}.");
        if (result.GetValue(least) < 0)
            throw new ArgumentException($"--eplb-least-tokens must not be negative, and is {result.GetValue(least)}.");
        return slots == 0 ? null : new BalancerOptions
        {
            Ranks = experts,
            Redundant = slots,
            Algorithm = Enum.Parse<BalancingAlgorithm>(result.GetValue(algorithm)!.Replace("-", "", StringComparison.Ordinal), ignoreCase: true),
            Nodes = result.GetValue(nodes),
            Period = TimeSpan.FromSeconds(seconds),
            Threshold = share,
            LeastTokensPerRank = result.GetValue(least),
        };
    }

    private SharedPlacement SharedAt(ParseResult result) => Enum.Parse<SharedPlacement>(result.GetValue(sharedExperts)!, ignoreCase: true);

    private static WireType WireOf(string name) => name switch
    {
        "bfloat16" => WireType.BF16,
        "int8" => WireType.I8,
        _ => WireType.F32,
    };

    private TimeSpan Lag(ParseResult result, string name)
    {
        if (result.GetValue(lag) is not { } asked)
            return TimeSpan.Zero;
        string[] parts = asked.Split('=');
        if (parts.Length != 2 || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int milliseconds))
            throw new ArgumentException($"--lag names a worker and milliseconds, such as expert-1=10, not '{asked}'.");
        return parts[0] == name ? TimeSpan.FromMilliseconds(milliseconds) : TimeSpan.Zero;
    }
}

/// <summary>How a worker shares experts.</summary>
/// <param name="Plan">Who is what where attention and experts are apart; null where every rank has both.</param>
/// <param name="Ranks">Ranks that have both.</param>
/// <param name="Member">This worker's number among those of its role.</param>
/// <param name="PrefillElsewhere">Whether prompts are read elsewhere.</param>
/// <param name="Options">The rest.</param>
internal sealed record MixtureSettings(SplitPlan? Plan, int Ranks, int Member, bool PrefillElsewhere, MixtureOptions Options);
