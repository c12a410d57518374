using System.CommandLine;
using System.Globalization;
using XDeepServe.Transformerless;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Cli.Service;

/// <summary>The flags of a worker that has attention without experts, or experts alone.</summary>
internal sealed class MixtureFlags
{
    private readonly Option<string?> apart = new("--apart") { Description = "Attention and expert workers of the service, such as 4A3E:2domains or 1P+2A2E." };
    private readonly Option<string?> group = new("--apart-group") { Description = "Names their groups on this host: the same for all of one service." };
    private readonly Option<int> member = new("--member") { Description = "This worker's number among those of its role, from 0." };
    private readonly Option<int> redundant = new("--redundant-experts") { Description = "Slots of each expert worker for copies of experts." };
    private readonly Option<int> microBatches = new("--micro-batches") { Description = "Micro-batches of a step: 1, 2, or 0 to go by measured times." };

    /// <summary>Adds the flags to a command.</summary>
    public MixtureFlags(Command command)
    {
        foreach (Option option in new Option[] { apart, group, member, redundant, microBatches })
            command.Options.Add(option);
    }

    /// <summary>A launched worker's flags.</summary>
    public static IEnumerable<string> ForWorker(Topology topology, WorkerSpec spec)
    {
        SplitPlan plan = topology.Apart!;
        string prefill = topology.Count(WorkerRole.Prefill) is > 0 and int count ? $"{count}P+" : "";
        int member = topology.Workers.Where(other => other.Role == spec.Role).ToList().IndexOf(spec);
        return
        [
            "--apart", string.Create(CultureInfo.InvariantCulture, $"{prefill}{plan.Attention}A{plan.Experts}E:{plan.Domains}domains"),
            "--apart-group", string.Create(CultureInfo.InvariantCulture, $"xds_{Environment.ProcessId}"),
            "--member", member.ToString(CultureInfo.InvariantCulture),
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
            Redundant = result.GetValue(redundant),
            MicroBatches = result.GetValue(microBatches),
        };
        return (plan, number, topology.Count(WorkerRole.Prefill) > 0, options);
    }
}
