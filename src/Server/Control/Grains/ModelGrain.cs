using System.Diagnostics;
using Microsoft.Extensions.Logging;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Grains;

/// <summary>See <see cref="IModel"/>.</summary>
[OwnSilo]
internal sealed class ModelGrain(ServiceOptions options, ILogger<ModelGrain> log) : Grain, IModel
{
    private DesiredWorkers? _desired;
    private string? _launcher;
    private long _metAt;

    private bool HasLauncher => _launcher is not null && Stopwatch.GetElapsedTime(_metAt) < options.HeartbeatPatience;

    public Task<DesiredWorkers?> Meet(string launcher, DesiredWorkers known)
    {
        if (HasLauncher && _launcher != launcher)
        {
            return Task.FromResult<DesiredWorkers?>(null);
        }
        if (_launcher != launcher || known.Version > _desired!.Version)
        {
            _desired = known;
        }
        (_launcher, _metAt) = (launcher, Stopwatch.GetTimestamp());
        return Desired();
    }

    public Task<DesiredWorkers?> Desired() => Task.FromResult(HasLauncher ? _desired : null);

    public Task<DesiredWorkers?> Want(WorkerRole role, int workers)
    {
        if (HasLauncher && _desired!.Roles.TryGetValue(role, out int before) && before != workers)
        {
            _desired = new DesiredWorkers(_desired.Version + 1, new Dictionary<WorkerRole, int>(_desired.Roles) { [role] = workers });
            log.LogInformation("{Role} workers: {Workers} instead of {Before}.", role, workers, before);
        }
        return Desired();
    }
}
