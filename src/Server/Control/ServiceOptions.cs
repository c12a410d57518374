using System.Net;

namespace XDeepServe.Server.Control;

/// <summary>Where the processes of a service find each other, and how long they wait for each other.</summary>
public sealed record ServiceOptions
{
    /// <summary>Names the service; processes of different names do not see each other.</summary>
    public string Name { get; init; } = "xds";

    /// <summary>Names this process within it.</summary>
    public required string Worker { get; init; }

    /// <summary>Address at which other processes reach this one.</summary>
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>Port for the others; 0 for any free one.</summary>
    public int Port { get; init; }

    /// <summary>The process that holds membership in its memory; null for this one, or where <see cref="Redis"/> does.</summary>
    public IPEndPoint? Primary { get; init; }

    /// <summary>Redis server that holds membership (host:port); no process is special then.</summary>
    public string? Redis { get; init; }

    /// <summary>Time between two heart-beats.</summary>
    public TimeSpan HeartbeatInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A process that does not answer for so long has gone.</summary>
    public TimeSpan HeartbeatPatience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A DP group whose loop does not turn for so long hangs: longer than its longest step.</summary>
    public TimeSpan HangPatience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Time in which a request must find a Task Executor that takes it, counted anew whenever it needs one.</summary>
    public TimeSpan PlacementPatience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Times that a request is begun again after its Task Executor has gone; then it ends with an error.</summary>
    public int Retries { get; init; } = 3;
}
