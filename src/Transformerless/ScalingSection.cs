using System.Globalization;
using XDeepServe.FlowServe.Balancing;
using YamlDotNet.RepresentationModel;

namespace XDeepServe.Transformerless;

/// <summary>
/// The part <c>autoscale</c> of a topology file: for each role whose number of workers follows the load, a mapping with <c>min</c>, <c>max</c>,
/// <c>standby</c> (workers that stand by) and the bounds of <see cref="AutoscaleSettings"/>; times are in seconds.
/// </summary>
internal static class ScalingSection
{
    private const double LongestSeconds = 86400;

    private static readonly YamlFields<(AutoscaleSettings Settings, int Spares)> s_bounds = new("bounds are a mapping with min, max and what else is to differ", "there is no bound", new()
    {
        ["min"] = (read, value) => read with { Settings = read.Settings with { Fewest = TopologyFile.Number(value, 1, Topology.MaxWorkers) } },
        ["max"] = (read, value) => read with { Settings = read.Settings with { Most = TopologyFile.Number(value, 1, Topology.MaxWorkers) } },
        ["standby"] = (read, value) => read with { Spares = TopologyFile.Number(value, 0, Topology.MaxWorkers) },
        ["queue-time-out"] = (read, value) => read with { Settings = read.Settings with { QueueTimeOut = Seconds(value) } },
        ["queue-time-in"] = (read, value) => read with { Settings = read.Settings with { QueueTimeIn = Seconds(value) } },
        ["kv-usage-out"] = (read, value) => read with { Settings = read.Settings with { KvUsageOut = Share(value) } },
        ["kv-usage-in"] = (read, value) => read with { Settings = read.Settings with { KvUsageIn = Share(value) } },
        ["out-after"] = (read, value) => read with { Settings = read.Settings with { PatienceOut = Seconds(value) } },
        ["in-after"] = (read, value) => read with { Settings = read.Settings with { PatienceIn = Seconds(value) } },
        ["cool-down"] = (read, value) => read with { Settings = read.Settings with { CoolDown = Seconds(value) } },
    });

    private static readonly YamlFields<IReadOnlyList<RoleScaling>> s_roles = new("'autoscale' is a mapping from roles to their bounds", "no number of workers follows the load of",
        Enum.GetValues<WorkerRole>().Where(RoleScaling.Fits).ToDictionary(TopologyFile.NameOf, role => (Func<IReadOnlyList<RoleScaling>, YamlNode, IReadOnlyList<RoleScaling>>)((read, value) => [.. read, ReadRole(role, value)])));

    /// <summary>Reads it.</summary>
    /// <exception cref="ArgumentException">It says what is wrong, and in which line.</exception>
    public static IReadOnlyList<RoleScaling> Read(YamlNode section) => s_roles.Read(section, []);

    private static RoleScaling ReadRole(WorkerRole role, YamlNode entry)
    {
        (AutoscaleSettings settings, int spares) = s_bounds.Read(entry, (new AutoscaleSettings { Most = 0 }, 0));
        if (settings.Most == 0)
            throw TopologyFile.Wrong(entry, "'max' is needed: the most workers that there may be");
        try
        {
            settings.Validate();
        }
        catch (ArgumentException wrong)
        {
            throw TopologyFile.Wrong(entry, wrong.Message);
        }
        return new RoleScaling(role, settings, spares);
    }

    private static TimeSpan Seconds(YamlNode node) => TimeSpan.FromSeconds(Real(node, LongestSeconds, $"number of seconds, at most {LongestSeconds},"));

    private static double Share(YamlNode node) => Real(node, 1, "share between 0 and 1");

    private static double Real(YamlNode node, double most, string what) =>
        double.TryParse(TopologyFile.Scalar(node), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number) && number <= most
            ? number
            : throw TopologyFile.Wrong(node, $"a {what} is needed, not '{node}'");
}
