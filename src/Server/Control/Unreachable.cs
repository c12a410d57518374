using Orleans.Runtime;

namespace XDeepServe.Server.Control;

/// <summary>Failures of a call that say that the other process cannot be reached now, or has gone.</summary>
internal static class Unreachable
{
    /// <summary>Whether a failure is one.</summary>
    public static bool Is(Exception failure) =>
        failure is OrleansException or TimeoutException or System.Net.Sockets.SocketException or OperationCanceledException;

    /// <summary>Lets a call go on whose answer does not matter, since its receiver may have gone.</summary>
    public static void Watch(Task call) =>
        call.ContinueWith(static failed => _ = failed.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
}
