using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>Does what the cluster decides on the number of workers: starts one, or has one end when it has done what it has.</summary>
/// <param name="launcher">Has the workers.</param>
/// <param name="node">This process's place in the service.</param>
internal sealed class Autoscaler(Launcher launcher, ServiceNode node)
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    /// <summary>Goes on until it is stopped.</summary>
    public async Task RunAsync(IReadOnlyList<RoleScaling> roles, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                foreach ((WorkerRole role, AutoscaleSettings settings, int spares) in roles)
                {
                    launcher.KeepSpares(role, spares);
                    ScaleAnswer answer = await node.ScaleAsync(role, settings, launcher.Count(role));
                    if (answer.Decision == ScaleDecision.Out)
                        launcher.Add(role);
                    else if (answer is { Decision: ScaleDecision.In, Worker: { } worker })
                    {
                        launcher.Retire(worker);
                        await node.RetireAsync(worker);
                    }
                }
                await Task.Delay(s_interval, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The service ends.
        }
    }
}
