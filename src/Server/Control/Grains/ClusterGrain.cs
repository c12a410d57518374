using System.Diagnostics;
using Microsoft.Extensions.Logging;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Grains;

/// <summary>
/// See <see cref="ICluster"/>. Its timer is the heart-beat (paper §6.1): it asks every Task Executor for a report, which comes
/// through the loops of its DP groups, and tells front ends what changed. Whoever does not answer in time is out.
/// </summary>
[OwnSilo]
internal sealed class ClusterGrain(ServiceOptions options, ClusterPlace place, ILogger<ClusterGrain> log) : Grain, ICluster
{
    private readonly Dictionary<string, Tracked> _members = [];
    private readonly Dictionary<string, Watcher> _watchers = [];
    private readonly Dictionary<WorkerRole, RoleLoad> _loads = []; // of roles that someone scales
    private readonly long _born = Stopwatch.GetTimestamp();

    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        this.RegisterGrainTimer(
            Beat,
            new GrainTimerCreationOptions { DueTime = options.HeartbeatInterval, Period = options.HeartbeatInterval, Interleave = true, KeepAlive = true });
        return Task.CompletedTask;
    }

    public Task Join(ExecutorInfo info)
    {
        if (_members.TryGetValue(info.Id, out Tracked? known))
        {
            known.JoinedAt = Stopwatch.GetTimestamp();
        }
        else
        {
            _members.Add(info.Id, new Tracked(info));
            // Another life of the same worker: the last one is over, whether it was noticed or not.
            Departure[] gone = [.. _members.Values.Where(other => other.Info.Name == info.Name && other.Info.Id != info.Id).Select(other => new Departure(other.Info.Id, "its worker was started again"))];
            foreach (Departure departure in gone)
            {
                _members.Remove(departure.Id);
            }
            log.LogDebug("{Executor} joined.", info.Id);
            Tell(new ClusterUpdate { Members = [_members[info.Id].Member], Gone = gone });
        }
        return Task.CompletedTask;
    }

    public Task Leave(string id, string reason)
    {
        Remove([new Departure(id, reason)]);
        return Task.CompletedTask;
    }

    public Task<ClusterUpdate> Watch(IFrontEnd frontEnd, string frontEndId)
    {
        _watchers[frontEndId] = new Watcher(frontEnd) { SeenAt = Stopwatch.GetTimestamp() };
        return Task.FromResult(new ClusterUpdate
        {
            Members = [.. _members.Values.Select(tracked => tracked.Member)],
            // A new life of this grain knows everyone only after they have joined again.
            Complete = Stopwatch.GetElapsedTime(_born) > options.HeartbeatPatience,
        });
    }

    public Task<ExecutorInfo[]> Members() =>
        Task.FromResult<ExecutorInfo[]>([.. _members.Values.OrderBy(tracked => tracked.Member.Report.Requests).Select(tracked => tracked.Info)]);

    public async Task Scale(ScaleQuestion question)
    {
        if (!_loads.TryGetValue(question.Role, out RoleLoad? load))
        {
            _loads.Add(question.Role, load = new RoleLoad());
        }
        ScaleDecision decision = load.Decide(question);
        if (decision != ScaleDecision.Hold)
        {
            await place.Model.Want(question.Role, question.Workers + (decision == ScaleDecision.Out ? 1 : -1));
        }
    }

    public Task<string?> Least(string[] workers) => Task.FromResult(_members.Values.Select(tracked => tracked.Member)
        .Where(member => !member.Report.Draining && workers.Contains(member.Info.Name))
        .OrderBy(member => member.Report.Requests).ThenByDescending(member => member.Info.Name, StringComparer.Ordinal)
        .FirstOrDefault()?.Info.Name);

    public Task Unwatch(string frontEndId)
    {
        _watchers.Remove(frontEndId);
        return Task.CompletedTask;
    }

    private Task Beat(CancellationToken cancel)
    {
        List<Departure> gone = [];
        List<Member> changed = [];
        List<string> strangers = []; // they say elsewhere that they are here
        foreach (Tracked tracked in _members.Values)
        {
            TimeSpan silence = Stopwatch.GetElapsedTime(tracked.HeardAt);
            if (Stopwatch.GetElapsedTime(tracked.JoinedAt) > options.HeartbeatPatience * 2)
            {
                strangers.Add(tracked.Info.Id);
                continue;
            }
            if (silence > options.HeartbeatPatience)
            {
                gone.Add(new Departure(tracked.Info.Id, $"its process did not answer for {silence.TotalSeconds:0.0} s"));
            }
            else if (tracked.Member.Report.Silence > options.HangPatience.TotalMilliseconds)
            {
                gone.Add(new Departure(tracked.Info.Id, $"a DP group's loop did not turn for {tracked.Member.Report.Silence / 1000.0:0.0} s"));
            }
            else if (tracked.Changed)
            {
                tracked.Changed = false;
                changed.Add(tracked.Member);
            }
            if (!tracked.Asking)
            {
                // Not awaited: one that hangs must not keep the others from being asked.
                _ = AskAsync(tracked);
            }
        }
        strangers.ForEach(id => _members.Remove(id));
        foreach ((WorkerRole role, RoleLoad load) in _loads)
        {
            load.Look([.. Active(role).Select(member => member.Report)]);
        }
        foreach ((string id, Watcher watcher) in _watchers.ToArray())
        {
            if (Stopwatch.GetElapsedTime(watcher.SeenAt) > options.HeartbeatPatience * 2)
            {
                _watchers.Remove(id);
            }
        }
        if (changed.Count > 0)
        {
            Tell(new ClusterUpdate { Members = [.. changed] });
        }
        Remove([.. gone]);
        return Task.CompletedTask;
    }

    private IEnumerable<Member> Active(WorkerRole role) =>
        _members.Values.Select(tracked => tracked.Member).Where(member => member.Info.Role == role && !member.Report.Draining);

    private async Task AskAsync(Tracked tracked)
    {
        tracked.Asking = true;
        try
        {
            ExecutorReport report = await GrainFactory.GetGrain<ITaskExecutor>(tracked.Info.Id).Report();
            tracked.HeardAt = Stopwatch.GetTimestamp();
            tracked.Changed |= !report.Agrees(tracked.Member.Report);
            tracked.Member = tracked.Member with { Report = report };
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            log.LogDebug(failure, "{Executor} did not answer.", tracked.Info.Id);
        }
        finally
        {
            tracked.Asking = false;
        }
    }

    private void Remove(Departure[] gone)
    {
        Departure[] known = [.. gone.Where(departure => _members.Remove(departure.Id))];
        foreach (Departure departure in known)
        {
            log.LogWarning("{Executor} has gone: {Reason}.", departure.Id, departure.Reason);
        }
        if (known.Length > 0)
        {
            Tell(new ClusterUpdate { Members = [], Gone = known });
        }
    }

    private void Tell(ClusterUpdate update)
    {
        foreach ((string id, Watcher watcher) in _watchers)
        {
            _ = TellAsync(id, watcher, update);
        }
    }

    private async Task TellAsync(string id, Watcher watcher, ClusterUpdate update)
    {
        try
        {
            await watcher.FrontEnd.Update(update);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            // If it lives it asks for everything with its next Watch.
            log.LogDebug(failure, "Front end {FrontEnd} did not answer.", id);
        }
    }

    private sealed class Tracked(ExecutorInfo info)
    {
        public ExecutorInfo Info { get; } = info;

        public Member Member { get; set; } = new(info, new ExecutorReport());

        public long HeardAt { get; set; } = Stopwatch.GetTimestamp();

        public long JoinedAt { get; set; } = Stopwatch.GetTimestamp();

        public bool Asking { get; set; }

        public bool Changed { get; set; }
    }

    private sealed record Watcher(IFrontEnd FrontEnd)
    {
        public long SeenAt { get; init; }
    }
}
