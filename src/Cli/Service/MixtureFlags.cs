using System.CommandLine;
using System.Globalization;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Cli.Service;

/// <summary>The flags of workers that have attention without experts, or experts alone, and of who launches them.</summary>
internal sealed class MixtureFlags
{
    private readonly Option<string?> apart = new("--apart") { Description = "Attention and expert workers of the service, such as 4A3E:2domains or 1P+2A2E." };
    private readonly Option<string?> group = new("--apart-group") { Description = "Names their groups on this host: the same for all of one service." };
    private readonly Option<int> member = new("--member") { Description = "This worker's number among those of its role, from 0." };
    private readonly Option<bool> rejoin = new("--rejoin") { Description = "Come back into a service that goes on without this worker, instead of starting with the others." };
    private readonly Option<int> microBatches = new("--micro-batches") { Description = "Micro-batches of a step where attention and experts are apart: 1, 2, or 0 to go by measured times." };
    private readonly Option<int> redundant = new("--redundant-experts") { Description = "Slots of each expert worker for copies of busy experts, which follow the load (EPLB)." };
    private readonly Option<string> algorithm = EngineFlags.Choice("--eplb-algorithm", "How copies are chosen: time-sliced (the paper's) or global (DeepSeek's; moves experts, too).", "time-sliced", "time-sliced", "global");
    private readonly Option<double> period = new("--eplb-period") { Description = "Seconds between two looks at the load.", DefaultValueFactory = _ => 60 };
    private readonly Option<double> threshold = new("--eplb-threshold") { Description = "Nothing is moved while the mean load is at least this share of the largest.", DefaultValueFactory = _ => 0.9 };
    private readonly Option<int> least = new("--eplb-least-tokens") { Description = "Nothing is moved while steps have fewer tokens for each expert worker.", DefaultValueFactory = _ => 128 };
    private readonly Option<string?> lag = new("--lag") { Description = "Makes one worker slow on purpose, such as expert-1=10: milliseconds of each batch.", Hidden = true };

    /// <summary>Adds the flags to a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="launches">Whether it launches the workers, rather than being one.</param>
    public MixtureFlags(Command command, bool launches)
    {
        foreach (Option option in launches ? Shared : [apart, group, member, rejoin, .. Shared])
            command.Options.Add(option);
    }

    private IReadOnlyList<Option> Shared => [microBatches, redundant, algorithm, period, threshold, least, lag];

    /// <summary>A launched worker's flags.</summary>
    public IEnumerable<string> ForWorker(ParseResult result, Topology topology, WorkerSpec spec)
    {
        SplitPlan plan = topology.Apart!;
        string prefill = topology.Count(WorkerRole.Prefill) is > 0 and int count ? $"{count}P+" : "";
        int number = topology.Workers.Where(other => other.Role == spec.Role).ToList().IndexOf(spec);
        return
        [
            "--apart", string.Create(CultureInfo.InvariantCulture, $"{prefill}{plan.Attention}A{plan.Experts}E:{plan.Domains}domains"),
            "--apart-group", string.Create(CultureInfo.InvariantCulture, $"xds_{Environment.ProcessId}"),
            "--member", number.ToString(CultureInfo.InvariantCulture),
            .. GivenFlags.Of(result, Shared),
        ];
    }

    /// <summary>Reads the flags.</summary>
    /// <returns>Who is what, this worker's number, whether prompts are read elsewhere, and how experts are shared.</returns>
    /// <exception cref="ArgumentException">Something is missing or cannot be.</exception>
    public (SplitPlan Plan, int Member, bool PrefillElsewhere, MixtureOptions Options) Read(ParseResult result, WorkerRole role)
    {
        if (result.GetValue(apart) is not { } text || Topology.Parse(text) is not { Apart: { } plan } topology)
            throw new ArgumentException("A worker with attention or experts alone needs --apart, such as 4A3E:2domains, with --apart-group and --member.");
        int number = result.GetValue(member), most = role == WorkerRole.Expert ? plan.Experts : plan.Attention;
        if (number < 0 || number >= most)
            throw new ArgumentException($"--member must be between 0 and {most - 1} in {text}, not {number}.");
        MixtureOptions options = new()
        {
            Name = result.GetValue(group) ?? throw new ArgumentException("A worker with attention or experts alone needs --apart-group, the same for all of one service."),
            Rejoin = result.GetValue(rejoin),
            Redundant = result.GetValue(redundant),
            MicroBatches = result.GetValue(microBatches),
            Balancing = Balancing(result, plan.Experts),
            Lag = Lag(result, $"{(role == WorkerRole.Expert ? "expert" : "attention")}-{number}"),
            Log = line => Console.Error.WriteLine($"xds: {line}"),
        };
        return (plan, number, topology.Count(WorkerRole.Prefill) > 0, options);
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
        if (result.GetValue(least) < 0)
            throw new ArgumentException($"--eplb-least-tokens must not be negative, and is {result.GetValue(least)}.");
        return slots == 0 ? null : new BalancerOptions
        {
            Ranks = experts,
            Redundant = slots,
            Algorithm = result.GetValue(algorithm) == "global" ? BalancingAlgorithm.Global : BalancingAlgorithm.TimeSliced,
            Period = TimeSpan.FromSeconds(seconds),
            Threshold = share,
            LeastTokensPerRank = result.GetValue(least),
        };
    }

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
