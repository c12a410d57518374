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
        foreach (Option option in new Option[] { bounds, idle, spares })
            command.Options.Add(option);
    }

    /// <summary>Reads the flags.</summary>
    /// <returns>Null where the number of workers does not change.</returns>
    /// <exception cref="ArgumentException">They cannot be.</exception>
    public (AutoscaleSettings Settings, int Spares)? Read(ParseResult result, Topology topology)
    {
        if (result.GetValue(bounds) is not { } text)
            return null;
        string[] parts = text.Split(':');
        if (parts.Length != 2 || !TryCount(parts[0], out int fewest) || !TryCount(parts[1], out int most) || fewest > most)
            throw new ArgumentException($"--autoscale takes the fewest and the most workers of each role, such as 1:3, not '{text}'.");
        if (topology.Apart is not null)
            throw new ArgumentException("Attention and expert workers find together once: --autoscale is for topologies without them.");
        if (result.GetValue(spares) is < 0 or > Topology.MaxWorkers || !(result.GetValue(idle) >= 1))
            throw new ArgumentException("--standby-workers is 0 or more, --scale-in-after at least 1 second.");
        AutoscaleSettings settings = new() { Fewest = fewest, Most = most, PatienceIn = TimeSpan.FromSeconds(result.GetValue(idle)) };
        settings.Validate();
        return (settings, result.GetValue(spares));
    }

    private static bool TryCount(string text, out int count) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out count) && count is >= 1 and <= Topology.MaxWorkers;
}
