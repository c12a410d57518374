using System.CommandLine;
using System.Net;
using XDeepServe.Server.Control;

namespace XDeepServe.Cli.Service;

/// <summary>The flags that say where the processes of a service find each other.</summary>
internal sealed class ClusterFlags
{
    private const string RedisScheme = "redis://";
    private readonly Option<string?> cluster = new("--cluster") { Description = "Where the service's processes find each other: redis://host:port, or a launcher's host:port (default for 'serve': this process)." };
    private readonly Option<string> service = new("--service-name") { Description = "Names the service: several can share a Redis server.", DefaultValueFactory = _ => "xds" };
    private readonly Option<string> address = new("--advertise") { Description = "IP address at which the other processes reach this one.", DefaultValueFactory = _ => "127.0.0.1" };
    private readonly Option<int> port = new("--cluster-port") { Description = "Port at which the other processes reach this one; 0 for any." };

    /// <summary>Adds the flags to a command.</summary>
    public ClusterFlags(Command command)
    {
        foreach (Option option in Options)
            command.Options.Add(option);
    }

    /// <summary>The flags.</summary>
    public IReadOnlyList<Option> Options => [cluster, service, address, port];

    /// <summary>Flags that hand a service down to a worker.</summary>
    /// <param name="result">The launcher's own.</param>
    /// <param name="primary">Where the launcher is.</param>
    public IEnumerable<string> ForWorkers(ParseResult result, IPEndPoint primary) =>
        ["--cluster", result.GetValue(cluster) ?? primary.ToString(), "--service-name", result.GetValue(service)!, "--advertise", result.GetValue(address)!];

    /// <summary>Reads the flags.</summary>
    /// <returns>Null without --cluster.</returns>
    public ServiceOptions? Read(ParseResult result, string worker) => result.GetValue(cluster) is null ? null : ReadOrOwn(result, worker);

    /// <summary>Reads the flags; without --cluster this process holds membership.</summary>
    public ServiceOptions ReadOrOwn(ParseResult result, string worker)
    {
        string? where = result.GetValue(cluster);
        if (!IPAddress.TryParse(result.GetValue(address), out IPAddress? own))
            throw new ArgumentException($"--advertise must be an IP address, not '{result.GetValue(address)}'.");
        bool redis = where?.StartsWith(RedisScheme, StringComparison.OrdinalIgnoreCase) == true;
        IPEndPoint? primary = null;
        if (where is not null && !redis && (!IPEndPoint.TryParse(where, out primary) || primary.Port == 0))
            throw new ArgumentException($"--cluster must be redis://host:port, or the IP address and port of a launcher, not '{where}'.");
        return new ServiceOptions
        {
            Name = result.GetValue(service)!,
            Worker = worker,
            Address = own,
            Port = result.GetValue(port),
            Redis = redis ? where![RedisScheme.Length..].TrimEnd('/') : null,
            Primary = primary,
        };
    }
}
