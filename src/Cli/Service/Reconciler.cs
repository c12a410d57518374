using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>Brings the number of workers to what is desired, whoever desires it: starts one, or has one end when it has done what it has.</summary>
/// <param name="launcher">Has the workers.</param>
/// <param name="node">This process's place in the service.</param>
internal sealed class Reconciler(Launcher launcher, ServiceNode node)
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    /// <summary>Goes on until it is stopped.</summary>
    /// <param name="desired">What is desired at first.</param>
    /// <param name="scaled">Roles whose number follows the load.</param>
    /// <param name="stop">Stops it.</param>
    public async Task RunAsync(DesiredWorkers desired, IReadOnlyList<RoleScaling> scaled, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                foreach ((WorkerRole role, var settings, int spares) in scaled)
                {
                    launcher.KeepSpares(role, spares);
                    await node.ScaleAsync(role, settings, launcher.Names(role).Count);
                }
                desired = await node.MeetAsync(desired);
                foreach ((WorkerRole role, int workers) in desired.Roles)
                    await ApproachAsync(role, workers);
                await Task.Delay(s_interval, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The service ends.
        }
    }

    private async Task ApproachAsync(WorkerRole role, int workers)
    {
        IReadOnlyList<string> there = launcher.Names(role);
        if (there.Count < workers)
            launcher.Add(role);
        else if (there.Count > workers && there.Except(node.Executors).LastOrDefault() is { } starting)
            launcher.Retire(starting, atOnce: true); // nothing is lost with it
        else if (there.Count > workers && await node.LeastAsync(there) is { } worker)
        {
            launcher.Retire(worker, atOnce: false);
            await node.RetireAsync(worker);
        }
    }
}
