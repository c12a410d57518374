using Microsoft.Extensions.Logging;

namespace XDeepServe.Cli.Service;

/// <summary>What the processes of a service write to the console: their own lines, and what others find alarming.</summary>
internal static class ServiceLog
{
    /// <summary>Adds the console. The host's own lines are left out: what keeps it from starting ends the command, with one line.</summary>
    public static void Add(ILoggingBuilder logging) => logging
        .AddFilter("Microsoft", LogLevel.Warning)
        .AddFilter("Microsoft.Extensions.Hosting", LogLevel.None)
        .AddFilter("Orleans", LogLevel.None)
        .AddFilter("Polly", LogLevel.None)
        .AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss ";
        });
}
