using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>
/// What this process knows of the service's Task Executors: as the cluster told, corrected by what this process itself has given
/// them since. Any thread.
/// </summary>
internal sealed class ClusterView
{
    private readonly ConcurrentDictionary<string, SeenExecutor> _executors = new();
    private readonly Lock _picking = new();
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Called with each Task Executor that has gone.</summary>
    public event Action<Departure>? Departed;

    /// <summary>Called with the worker's name of each that is new.</summary>
    public event Action<string>? Joined;

    /// <summary>All that are known.</summary>
    public IReadOnlyList<SeenExecutor> Executors => [.. _executors.Values.OrderBy(seen => seen.Info.Name, StringComparer.Ordinal)];

    /// <summary>Whether there is someone for every part of a request's way.</summary>
    public bool CanServe => Has(WorkerRole.Colocated) || (Has(WorkerRole.Prefill) && Has(WorkerRole.Decode));

    /// <summary>Ends with the next change.</summary>
    public Task Changed => _changed.Task;

    /// <summary>One Task Executor; null if it has gone.</summary>
    public SeenExecutor? Find(string id) => _executors.GetValueOrDefault(id);

    /// <summary>Takes what the cluster tells.</summary>
    public void Apply(ClusterUpdate update)
    {
        foreach (Member member in update.Members)
        {
            if (_executors.TryAdd(member.Info.Id, new SeenExecutor(member.Info)))
            {
                Joined?.Invoke(member.Info.Name);
            }
            _executors[member.Info.Id].Report = member.Report;
        }
        foreach (Departure departure in update.Gone)
        {
            Remove(departure);
        }
        if (update.Complete)
        {
            HashSet<string> there = [.. update.Members.Select(member => member.Info.Id)];
            foreach (string id in _executors.Keys.Where(id => !there.Contains(id)))
            {
                Remove(new Departure(id, "the cluster does not know it any more"));
            }
        }
        Notify();
    }

    /// <summary>Tells waiters that something may be possible now that was not.</summary>
    public void Notify()
    {
        TaskCompletionSource before = Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        before.TrySetResult();
    }

    /// <summary>Picks a Task Executor (paper §4.1).</summary>
    /// <returns>Its id; null if none can take the task now.</returns>
    public string? Pick(PlacementRequest request)
    {
        // One at a time: of requests that come together, each sees that the last one was given away.
        lock (_picking)
        {
            List<SeenExecutor> candidates = Candidates(request.Role, request.Avoid);
            List<ExecutorLoad> loads = [.. candidates.Select(seen => seen.Load(request.Chain))];
            int place = request.Role == WorkerRole.Decode ? JobPlacement.Decode(loads) : JobPlacement.Prefill(loads, request.Tokens, candidates.Select(seen => seen.Info.LongPrompt).FirstOrDefault());
            if (place < 0)
            {
                return null;
            }
            candidates[place].PickedAt = Stopwatch.GetTimestamp();
            if (request.Role != WorkerRole.Decode)
            {
                candidates[place].Promise(candidates[place].Predict(request.Tokens, request.Chain), request.Chain);
            }
            return candidates[place].Info.Id;
        }
    }

    private bool Has(WorkerRole role) => _executors.Values.Any(seen => seen.Info.Role == role && !seen.Report.Draining);

    private List<SeenExecutor> Candidates(WorkerRole role, string[] avoid)
    {
        List<SeenExecutor> fit = [.. _executors.Values.Where(seen => !seen.Report.Draining && !seen.Shunned && Array.IndexOf(avoid, seen.Info.Id) < 0)];
        // A whole engine can do anything; it goes on with a request only where nobody else does.
        List<SeenExecutor> chosen = role == WorkerRole.Decode
            ? fit.FindAll(seen => seen.Info.Role == WorkerRole.Decode)
            : fit.FindAll(seen => seen.Info.Role is WorkerRole.Prefill or WorkerRole.Colocated);
        chosen = chosen.Count > 0 ? chosen : fit.FindAll(seen => seen.Info.Role == WorkerRole.Colocated);
        // Equals are taken in turn: the order says who was picked least lately.
        chosen.Sort((left, right) => (left.PickedAt, left.Info.Id).CompareTo((right.PickedAt, right.Info.Id)));
        return chosen;
    }

    private void Remove(Departure departure)
    {
        if (_executors.TryRemove(departure.Id, out _))
        {
            Departed?.Invoke(departure);
        }
    }
}
