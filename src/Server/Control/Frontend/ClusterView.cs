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
    // Until Task Executors report what prefill costs them: any cost that grows with tokens orders them alike.
    private static readonly PrefillCost s_nominalCost = new(0.001, 0.0001, 0);
    private const int LongPrompt = 2048;
    private readonly ConcurrentDictionary<string, Seen> _executors = new();
    private readonly Lock _picking = new();
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Called with each Task Executor that has gone.</summary>
    public event Action<Departure>? Departed;

    /// <summary>Called with the worker's name of each that is new.</summary>
    public event Action<string>? Joined;

    /// <summary>All that are known.</summary>
    public IReadOnlyList<Seen> Executors => [.. _executors.Values.OrderBy(seen => seen.Info.Name, StringComparer.Ordinal)];

    /// <summary>Whether there is someone for every part of a request's way.</summary>
    public bool CanServe => Has(WorkerRole.Colocated) || (Has(WorkerRole.Prefill) && Has(WorkerRole.Decode));

    /// <summary>Ends with the next change.</summary>
    public Task Changed => _changed.Task;

    /// <summary>One Task Executor; null if it has gone.</summary>
    public Seen? Find(string id) => _executors.GetValueOrDefault(id);

    /// <summary>Takes what the cluster tells.</summary>
    public void Apply(ClusterUpdate update)
    {
        foreach (Member member in update.Members)
        {
            if (_executors.TryAdd(member.Info.Id, new Seen(member.Info)))
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
            List<Seen> candidates = Candidates(request.Role, request.Avoid);
            List<ExecutorLoad> loads = [.. candidates.Select(Load)];
            int place = request.Role == WorkerRole.Decode ? JobPlacement.Decode(loads) : JobPlacement.Prefill(loads, request.Chain, request.Tokens, LongPrompt);
            if (place < 0)
            {
                return null;
            }
            candidates[place].PickedAt = Stopwatch.GetTimestamp();
            return candidates[place].Info.Id;
        }
    }

    private bool Has(WorkerRole role) => _executors.Values.Any(seen => seen.Info.Role == role && !seen.Report.Draining);

    private List<Seen> Candidates(WorkerRole role, string[] avoid)
    {
        List<Seen> fit = [.. _executors.Values.Where(seen => !seen.Report.Draining && !seen.Shunned && Array.IndexOf(avoid, seen.Info.Id) < 0)];
        // A whole engine can do anything; it goes on with a request only where nobody else does.
        List<Seen> chosen = role == WorkerRole.Decode
            ? fit.FindAll(seen => seen.Info.Role == WorkerRole.Decode)
            : fit.FindAll(seen => seen.Info.Role is WorkerRole.Prefill or WorkerRole.Colocated);
        chosen = chosen.Count > 0 ? chosen : fit.FindAll(seen => seen.Info.Role == WorkerRole.Colocated);
        // Equals are taken in turn: the order says who was picked least lately.
        chosen.Sort((left, right) => (left.PickedAt, left.Info.Id).CompareTo((right.PickedAt, right.Info.Id)));
        return chosen;
    }

    private static ExecutorLoad Load(Seen seen) => new()
    {
        Requests = Math.Max(seen.Report.Requests, seen.Given),
        RequestLimit = seen.Info.RequestLimit,
        Cost = s_nominalCost,
        StepTokens = seen.Info.MaxBatchedTokens,
        Backlog = s_nominalCost.Token * seen.PromptTokens,
        KvUsage = seen.Report.KvUsage + (double)seen.GivenTokens / Math.Max(1, (long)seen.Info.CacheBlocks * seen.Info.BlockSize * seen.Info.Groups),
    };

    private void Remove(Departure departure)
    {
        if (_executors.TryRemove(departure.Id, out _))
        {
            Departed?.Invoke(departure);
        }
    }

    /// <summary>A Task Executor as this process sees it.</summary>
    internal sealed class Seen(ExecutorInfo info)
    {
        private ExecutorReport _report = new();
        private int _given;
        private long _promptTokens, _givenTokens, _shunnedUntil;

        /// <summary>What it is.</summary>
        public ExecutorInfo Info { get; } = info;

        /// <summary>How it fared when last heard of.</summary>
        public ExecutorReport Report
        {
            get => Volatile.Read(ref _report);
            set
            {
                Volatile.Write(ref _report, value);
                Interlocked.Exchange(ref _givenTokens, 0); // it counts them itself now
            }
        }

        /// <summary>Tasks of this process that it has.</summary>
        public int Given => Volatile.Read(ref _given);

        /// <summary>Tokens of prompts that it is to compute for this process.</summary>
        public long PromptTokens => Interlocked.Read(ref _promptTokens);

        /// <summary>Cache positions that were given to it since it last reported.</summary>
        public long GivenTokens => Interlocked.Read(ref _givenTokens);

        /// <summary>When it was last picked (<see cref="Stopwatch"/>); kept by <see cref="Pick"/>.</summary>
        public long PickedAt { get; set; }

        /// <summary>Whether it could not be reached just now: it gets nothing until a moment has passed or it has gone.</summary>
        public bool Shunned => Stopwatch.GetTimestamp() < Interlocked.Read(ref _shunnedUntil);

        /// <summary>It could not be reached.</summary>
        public void Shun() => Interlocked.Exchange(ref _shunnedUntil, Stopwatch.GetTimestamp() + Stopwatch.Frequency);

        /// <summary>Gives it a task.</summary>
        /// <param name="tokens">Tokens of prompt and answer so far.</param>
        /// <param name="toCompute">Those that it computes.</param>
        public void Begin(int tokens, int toCompute)
        {
            Interlocked.Increment(ref _given);
            Interlocked.Add(ref _promptTokens, toCompute);
            Interlocked.Add(ref _givenTokens, tokens);
        }

        /// <summary>It has computed the prompt.</summary>
        public void Computed(int toCompute) => Interlocked.Add(ref _promptTokens, -toCompute);

        /// <summary>The task has ended.</summary>
        public void End() => Interlocked.Decrement(ref _given);
    }
}
