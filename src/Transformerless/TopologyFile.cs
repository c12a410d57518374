using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace XDeepServe.Transformerless;

/// <summary>
/// A topology written down: a list <c>workers</c> whose entries have <c>role</c> (colocated, prefill, decode, frontend, attention, expert, rank) and, if
/// need be, <c>count</c>, <c>groups</c>, <c>cores</c> (0-3,8), <c>device</c>, <c>memory</c> (bytes, or 512MiB),
/// <c>block-size</c> and, for a front end, <c>port</c>; and a mapping <c>autoscale</c> (<see cref="ScalingSection"/>). What is not known is refused.
/// </summary>
public static class TopologyFile
{
    private static readonly YamlFields<(YamlSequenceNode? Workers, IReadOnlyList<RoleScaling> Scaling, int Domains)> s_file = new("a topology file holds one mapping, with a list 'workers'", "the file has no", new()
    {
        ["workers"] = (read, value) => read with { Workers = value as YamlSequenceNode ?? throw Wrong(value, "'workers' is a list") },
        ["autoscale"] = (read, value) => read with { Scaling = ScalingSection.Read(value) },
        ["domains"] = (read, value) => read with { Domains = Number(value, 1, Topology.MaxWorkers) },
    });

    private static readonly YamlFields<(WorkerRole? Role, int Count, WorkerSpec Spec)> s_worker = new("a worker is a mapping with a role", "a worker has no", new()
    {
        ["role"] = (read, value) => read with { Role = Role(value) },
        ["count"] = (read, value) => read with { Count = Number(value, 1, Topology.MaxWorkers) },
        ["groups"] = (read, value) => read with { Spec = read.Spec with { Groups = Number(value, 1, Topology.MaxGroups) } },
        ["cores"] = (read, value) => read with { Spec = read.Spec with { Cores = Cores(value) } },
        ["device"] = (read, value) => read with { Spec = read.Spec with { Device = Scalar(value) } },
        ["memory"] = (read, value) => read with { Spec = read.Spec with { Memory = Bytes(value) } },
        ["port"] = (read, value) => read with { Spec = read.Spec with { Port = Number(value, 1, ushort.MaxValue) } },
        ["block-size"] = (read, value) => read with { Spec = read.Spec with { BlockSize = Number(value, 1, 256) } },
    });

    /// <summary>Reads a file's text.</summary>
    /// <exception cref="ArgumentException">It says what is wrong, and in which line.</exception>
    public static Topology Read(string text)
    {
        YamlStream stream = [];
        try
        {
            stream.Load(new StringReader(text));
        }
        catch (YamlException broken)
        {
            throw new ArgumentException($"The topology file is no YAML: line {broken.Start.Line}: {broken.Message}");
        }
        if (stream.Documents.Count != 1)
            throw new ArgumentException("A topology file holds one mapping, with a list 'workers'.");
        (YamlSequenceNode? listed, IReadOnlyList<RoleScaling> scaling, int domains) = s_file.Read(stream.Documents[0].RootNode, (null, [], 1));
        List<WorkerSpec> workers = [];
        foreach (YamlNode entry in listed ?? throw new ArgumentException("The topology file has no list 'workers'."))
            AddAll(entry, workers);
        return new Topology(workers, domains) { Scaling = scaling };
    }

    private static void AddAll(YamlNode entry, List<WorkerSpec> workers)
    {
        (WorkerRole? role, int count, WorkerSpec spec) = s_worker.Read(entry, (null, 1, new WorkerSpec { Name = "", Role = default }));
        if (role is not { } known)
            throw Wrong(entry, "a worker needs a role");
        if (spec.Port > 0 && (known != WorkerRole.Frontend || count > 1))
            throw Wrong(entry, "a port is of one front end");
        for (int number = 0; number < count; number++)
            workers.Add(spec with { Role = known, Name = Topology.NameOf(known, workers.Count(worker => worker.Role == known)) });
    }

    /// <summary>A role as files write it.</summary>
    internal static string NameOf(WorkerRole role) => role.ToString().ToLowerInvariant();

    private static WorkerRole Role(YamlNode node) =>
        Enum.GetValues<WorkerRole>().Where(role => NameOf(role).Equals(Scalar(node), StringComparison.OrdinalIgnoreCase)).Cast<WorkerRole?>().FirstOrDefault()
            ?? throw Wrong(node, $"'{node}' is no role; there are {string.Join(", ", Enum.GetValues<WorkerRole>().Select(NameOf))}");

    internal static string Scalar(YamlNode node) => node is YamlScalarNode { Value: { Length: > 0 } value } ? value : throw Wrong(node, "a single value is needed here");

    internal static int Number(YamlNode node, int least, int most) =>
        int.TryParse(Scalar(node), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least && number <= most
            ? number
            : throw Wrong(node, $"a number between {least} and {most} is needed, not '{node}'");

    /// <summary>Reads a list of cores such as <c>0-3,8</c>.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    public static IReadOnlyList<int> ParseCores(string text)
    {
        SortedSet<int> cores = [];
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            if (ends.Length > 2 || !TryCore(ends[0], out int first) || !TryCore(ends[^1], out int last) || last < first)
                throw new ArgumentException($"'{text}' is no list of cores; write them as 0-3,8.");
            for (int core = first; core <= last; core++)
                cores.Add(core);
        }
        return [.. cores];
    }

    private static bool TryCore(string text, out int core) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out core) && core < 4096;

    private static IReadOnlyList<int> Cores(YamlNode node)
    {
        try
        {
            return ParseCores(node is YamlSequenceNode list ? string.Join(',', list.Select(Scalar)) : Scalar(node));
        }
        catch (ArgumentException wrong)
        {
            throw Wrong(node, wrong.Message);
        }
    }

    private static long Bytes(YamlNode node)
    {
        string text = Scalar(node);
        foreach ((string unit, int shift) in new[] { ("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0) })
        {
            if (!text.EndsWith(unit, StringComparison.OrdinalIgnoreCase))
                continue;
            if (long.TryParse(text.AsSpan(0, text.Length - unit.Length).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number >= 1 && number <= long.MaxValue >> shift)
                return number << shift;
        }
        throw Wrong(node, $"'{text}' is no amount of memory; write bytes, or 512MiB, or 4GiB");
    }

    internal static ArgumentException Wrong(YamlNode node, string complaint) => new($"Topology file, line {node.Start.Line}: {complaint.TrimEnd('.')}.");
}
