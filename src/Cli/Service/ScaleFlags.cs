using System.CommandLine;
using System.Globalization;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>The flags that say how many workers a launcher may start by itself.</summary>
internal sealed class ScaleFlags
{
    private readonly Option<string?> bounds = new("--autoscale") { Description = "Fewest and most workers of each role, such as 1:3: more are started while requests wait or caches are full, and end again when they are idle." };
    private readonly Option<double> idle = new("--scale-in-after") { Description = "Seconds of low load after which a worker ends.", DefaultValueFactory = _ => new AutoscaleSettings { Most = 1 }.PatienceIn.TotalSeconds };
    private readonly Option<int> spares = new("--standby-workers") { Description = "Workers of each role that stand by with the model loaded, so that they serve at once when needed." };

    /// <summary>Adds the flags to a command.</summary>
    public ScaleFlags(Command command)
    {
        foreach (Option option in Options)
            command.Options.Add(option);
    }

    /// <summary>The flags.</summary>
    public IReadOnlyList<Option> Options => [bounds, idle, spares];

    /// <summary>Adds what the flags say to a topology.</summary>
    /// <exception cref="ArgumentException">They cannot be.</exception>
    public Topology Read(ParseResult result, Topology topology)
    {
        if (result.GetValue(bounds) is not { } text)
            return GivenFlags.Of(result, [idle, spares]).Any() ? throw new ArgumentException("--scale-in-after and --standby-workers go with --autoscale; a topology file has 'in-after' and 'standby' for them.") : topology;
        if (topology.Scaling.Count > 0)
            throw new ArgumentException("The topology file says how the number of workers follows the load: leave --autoscale out, or 'autoscale' there.");
        if (topology.SharesExperts)
            throw new ArgumentException("Workers that share experts find together once: --autoscale is for topologies without them.");
        string[] parts = text.Split(':');
        if (parts.Length != 2 || !TryCount(parts[0], out int fewest) || !TryCount(parts[1], out int most) || fewest > most)
            throw new ArgumentException($"--autoscale takes the fewest and the most workers of each role, such as 1:3, not '{text}'.");
        if (result.GetValue(spares) is < 0 or > Topology.MaxWorkers || !(result.GetValue(idle) >= 1))
            throw new ArgumentException("--standby-workers is 0 or more, --scale-in-after at least 1 second.");
        AutoscaleSettings settings = new() { Fewest = fewest, Most = most, PatienceIn = TimeSpan.FromSeconds(result.GetValue(idle)) };
        settings.Validate();
        return topology with { Scaling = [.. topology.Workers.Select(worker => worker.Role).Distinct().Where(RoleScaling.Fits).Select(role => new RoleScaling(role, settings, result.GetValue(spares)))] };
    }

    private static bool TryCount(string text, out int count) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out count) && count is >= 1 and <= Topology.MaxWorkers;
}
