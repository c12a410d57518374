using System.Globalization;
using System.Text.RegularExpressions;

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
    /// <exception cref="ArgumentException">They cannot serve together; says why.</exception>
    public Topology(IReadOnlyList<WorkerSpec> workers)
    {
        if (workers.Count is < 1 or > MaxWorkers)
            throw new ArgumentException($"A topology has between 1 and {MaxWorkers} workers, not {workers.Count}.");
        Workers = workers;
        bool prefill = Count(WorkerRole.Prefill) > 0, decode = Count(WorkerRole.Decode) > 0, whole = Count(WorkerRole.Colocated) > 0;
        if (prefill != decode)
            throw new ArgumentException($"A topology with {(prefill ? "prefill" : "decode")} workers needs {(prefill ? "decode" : "prefill")} workers too.");
        if (!prefill && !whole)
            throw new ArgumentException("No worker of the topology runs the model: add a colocated one, or prefill and decode.");
    }

    /// <summary>The workers.</summary>
    public IReadOnlyList<WorkerSpec> Workers { get; }

    /// <summary>Number of workers of a role.</summary>
    public int Count(WorkerRole role) => Workers.Count(worker => worker.Role == role);

    /// <summary>
    /// Reads what <c>--topology</c> names: <c>1</c> or <c>2</c> colocated workers, <c>2xDP</c> (one worker with two DP groups),
    /// <c>2P2D</c> (prefill and decode workers), or a YAML file, see <see cref="TopologyFile"/>.
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
        if (Apart().IsMatch(text))
            throw new ArgumentException($"Topology '{text}' takes attention and experts apart, which is not there yet; prefill and decode can be, as in 2P2D.");
        throw new ArgumentException($"'{text}' is no topology: write 1 or 2 (colocated workers), 2xDP (one worker with two DP groups), 2P2D (prefill and decode workers), or name a YAML file.");
    }

    /// <summary>The name of a role's n-th worker.</summary>
    public static string NameOf(WorkerRole role, int number) => string.Create(CultureInfo.InvariantCulture, $"{role}-{number}").ToLowerInvariant();

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

    [GeneratedRegex("^([0-9]+[PDAE])*[0-9]+[AE]([0-9]+[PDAE])*$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Apart();
}
