using System.Globalization;
using System.Text.RegularExpressions;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless;

/// <summary>Who runs where: the worker processes of a service (paper §4).</summary>
public sealed partial record Topology
{
    /// <summary>Most worker processes.</summary>
    public const int MaxWorkers = 256;

    /// <summary>Most DP groups of a worker.</summary>
    public const int MaxGroups = 256;

    /// <summary>Checks a set of workers.</summary>
    /// <param name="workers">The workers; names differ.</param>
    /// <param name="domains">Domains of the attention workers.</param>
    /// <exception cref="ArgumentException">They cannot serve together; says why.</exception>
    public Topology(IReadOnlyList<WorkerSpec> workers, int domains = 1)
    {
        if (workers.Count is < 1 or > MaxWorkers)
            throw new ArgumentException($"A topology has between 1 and {MaxWorkers} workers, not {workers.Count}.");
        Workers = workers;
        bool prefill = Count(WorkerRole.Prefill) > 0, decode = Count(WorkerRole.Decode) > 0, whole = Count(WorkerRole.Colocated) > 0;
        bool apart = Count(WorkerRole.Attention) > 0 || Count(WorkerRole.Expert) > 0;
        if (apart)
            Apart = new SplitPlan(Count(WorkerRole.Attention), Count(WorkerRole.Expert), domains);
        if (!apart && domains > 1)
            throw new ArgumentException("Domains are of attention workers: a topology without them has none.");
        if (apart && Ranks > 0)
            throw new ArgumentException("Ranks share experts among themselves, attention workers have them elsewhere: a topology has one or the other.");
        if (SharesExperts && workers.Any(worker => worker.Groups > 1 && worker.Role is WorkerRole.Attention or WorkerRole.Rank))
            throw new ArgumentException("A worker that shares experts with others is one DP group: start more workers instead of giving it groups.");
        if (prefill != (decode || (SharesExperts && prefill)))
            throw new ArgumentException($"A topology with {(prefill ? "prefill" : "decode")} workers needs {(prefill ? "decode" : "prefill")} workers too.");
        if (!prefill && !whole && !SharesExperts)
            throw new ArgumentException("No worker of the topology runs the model: add a colocated one, or prefill and decode.");
    }

    /// <summary>The workers.</summary>
    public IReadOnlyList<WorkerSpec> Workers { get; }

    /// <summary>Attention and expert workers; null if there are none.</summary>
    public SplitPlan? Apart { get; }

    /// <summary>Workers each of which has attention and a share of the experts.</summary>
    public int Ranks => Count(WorkerRole.Rank);

    /// <summary>Whether some workers need the experts of others: they find together once, when all start.</summary>
    public bool SharesExperts => Apart is not null || Ranks > 0;

    /// <summary>How the numbers of workers follow the load; empty where they do not.</summary>
    /// <exception cref="ArgumentException">A role has no workers, or workers share experts; says what to do.</exception>
    public IReadOnlyList<RoleScaling> Scaling
    {
        get;
        init
        {
            if (value.Count > 0 && SharesExperts)
                throw new ArgumentException("Workers that share experts find together once: the number of workers cannot follow the load in a topology with them.");
            if (value.FirstOrDefault(each => Count(each.Role) == 0) is { } missing)
                throw new ArgumentException($"The number of {missing.Role.ToString().ToLowerInvariant()} workers is to follow the load, but the topology has none to begin with.");
            field = value;
        }
    } = [];

    /// <summary>Number of workers of a role.</summary>
    public int Count(WorkerRole role) => Workers.Count(worker => worker.Role == role);

    /// <summary>
    /// Reads what <c>--topology</c> names: <c>1</c> or <c>2</c> colocated workers, <c>2xDP</c> (one worker with two DP groups),
    /// <c>2P2D</c> (prefill and decode workers), <c>2EP</c> (workers that share experts), <c>4A3E:2domains</c> (attention and expert workers,
    /// in domains), <c>1P+2EP</c> or <c>1P+2A2E</c> (the same with prefill elsewhere), or a YAML file, see <see cref="TopologyFile"/>.
    /// </summary>
    /// <exception cref="ArgumentException">It is none of these, or cannot serve; says what would do.</exception>
    public static Topology Parse(string text)
    {
        if (File.Exists(text))
            return TopologyFile.Read(File.ReadAllText(text));
        if (text.EndsWith(".yaml", StringComparison.OrdinalIgnoreCase) || text.EndsWith(".yml", StringComparison.OrdinalIgnoreCase))
            throw new ArgumentException($"The topology file {text} is not there.");
        if (Split().Match(text) is { Success: true } split)
            return new Topology([.. Named(WorkerRole.Prefill, Number(split, 1, MaxWorkers)), .. Named(WorkerRole.Decode, Number(split, 2, MaxWorkers))]);
        if (Groups().Match(text) is { Success: true } groups)
            return new Topology([new WorkerSpec { Name = NameOf(WorkerRole.Colocated, 0), Role = WorkerRole.Colocated, Groups = Number(groups, 1, MaxGroups) }]);
        if (Whole().Match(text) is { Success: true } whole)
            return new Topology([.. Named(WorkerRole.Colocated, Number(whole, 1, MaxWorkers))]);
        if (Shared().Match(text) is { Success: true } shared)
            return new Topology([.. Prefill(shared), .. Named(WorkerRole.Rank, Number(shared, 2, MaxWorkers))]);
        if (Disaggregated().Match(text) is { Success: true } apart)
        {
            return new Topology(
                [
                    .. Prefill(apart),
                    .. Named(WorkerRole.Attention, Number(apart, 2, MaxWorkers)),
                    .. Named(WorkerRole.Expert, Number(apart, 3, MaxWorkers)),
                ],
                apart.Groups[4].Success ? Number(apart, 4, MaxWorkers) : 1);
        }
        throw new ArgumentException($"'{text}' is no topology: write 1 or 2 (colocated workers), 2xDP (one worker with two DP groups), 2P2D (prefill and decode workers), 2EP (workers that share experts), 2A2E or 4A3E:2domains (attention and expert workers), 1P+2EP, 1P+2A2E, or name a YAML file.");
    }

    /// <summary>The name of a role's n-th worker.</summary>
    public static string NameOf(WorkerRole role, int number) => string.Create(CultureInfo.InvariantCulture, $"{role}-{number}").ToLowerInvariant();

    private static IEnumerable<WorkerSpec> Prefill(Match match) =>
        match.Groups[1].Success ? Named(WorkerRole.Prefill, Number(match, 1, MaxWorkers)) : [];

    private static IEnumerable<WorkerSpec> Named(WorkerRole role, int count) =>
        Enumerable.Range(0, count).Select(number => new WorkerSpec { Name = NameOf(role, number), Role = role });

    private static int Number(Match match, int group, int most) =>
        int.TryParse(match.Groups[group].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= 1 && number <= most
            ? number
            : throw new ArgumentException($"Topology '{match.Value}' asks for {match.Groups[group].Value}; between 1 and {most} are possible.");

    [GeneratedRegex("^([0-9]+)P([0-9]+)D$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Split();

    [GeneratedRegex("^([0-9]+)xDP$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Groups();

    [GeneratedRegex("^([0-9]+)$", RegexOptions.CultureInvariant)]
    private static partial Regex Whole();

    [GeneratedRegex("^(?:([0-9]+)P\\+?)?([0-9]+)EP$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Shared();

    [GeneratedRegex("^(?:([0-9]+)P\\+?)?([0-9]+)A([0-9]+)E(?::([0-9]+)domains?)?$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Disaggregated();
}
