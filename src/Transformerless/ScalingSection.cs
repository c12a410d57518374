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

    /// <summary>Reads it.</summary>
    /// <exception cref="ArgumentException">It says what is wrong, and in which line.</exception>
    public static IReadOnlyList<RoleScaling> Read(YamlNode section)
    {
        List<RoleScaling> roles = [];
        foreach ((YamlNode key, YamlNode value) in (section as YamlMappingNode ?? throw TopologyFile.Wrong(section, "'autoscale' is a mapping from roles to their bounds")).Children)
        {
            if (!Enum.TryParse(TopologyFile.Scalar(key), ignoreCase: true, out WorkerRole role) || !RoleScaling.Fits(role) || char.IsAsciiDigit(TopologyFile.Scalar(key)[0]))
                throw TopologyFile.Wrong(key, $"'{key}' has no number of workers that follows the load; colocated, prefill and decode have");
            roles.Add(ReadRole(role, value as YamlMappingNode ?? throw TopologyFile.Wrong(value, "bounds are a mapping with min, max and what else is to differ")));
        }
        return roles;
    }

    private static RoleScaling ReadRole(WorkerRole role, YamlMappingNode entry)
    {
        AutoscaleSettings settings = new() { Most = 0 };
        int spares = 0;
        foreach ((YamlNode key, YamlNode value) in entry.Children)
        {
            switch (TopologyFile.Scalar(key))
            {
                case "min":
                    settings = settings with { Fewest = TopologyFile.Number(value, 1, Topology.MaxWorkers) };
                    break;
                case "max":
                    settings = settings with { Most = TopologyFile.Number(value, 1, Topology.MaxWorkers) };
                    break;
                case "standby":
                    spares = TopologyFile.Number(value, 0, Topology.MaxWorkers);
                    break;
                case "queue-time-out":
                    settings = settings with { QueueTimeOut = Seconds(value) };
                    break;
                case "queue-time-in":
                    settings = settings with { QueueTimeIn = Seconds(value) };
                    break;
                case "kv-usage-out":
                    settings = settings with { KvUsageOut = Real(value, 1, "share between 0 and 1") };
                    break;
                case "kv-usage-in":
                    settings = settings with { KvUsageIn = Real(value, 1, "share between 0 and 1") };
                    break;
                case "out-after":
                    settings = settings with { PatienceOut = Seconds(value) };
                    break;
                case "in-after":
                    settings = settings with { PatienceIn = Seconds(value) };
                    break;
                case "cool-down":
                    settings = settings with { CoolDown = Seconds(value) };
                    break;
                default:
                    throw TopologyFile.Wrong(key, $"there is no bound '{key}'; there are min, max, standby, queue-time-out, queue-time-in, kv-usage-out, kv-usage-in, out-after, in-after and cool-down");
            }
        }
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

    private static double Real(YamlNode node, double most, string what) =>
        double.TryParse(TopologyFile.Scalar(node), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number) && number <= most
            ? number
            : throw TopologyFile.Wrong(node, $"a {what} is needed, not '{node}'");
}
