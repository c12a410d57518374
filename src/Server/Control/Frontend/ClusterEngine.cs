using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Models;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Server.Metrics;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>
/// The engine of a front end: answers requests with the service's Task Executors. Each choice is a job of its own
/// (<see cref="ChoiceRun"/>). Runs no model itself.
/// </summary>
public sealed class ClusterEngine : IEngine, IFrontEnd, IAsyncDisposable
{
    private static readonly TimeSpan s_watchInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_prefixDelay = TimeSpan.FromMilliseconds(250);
    private readonly IGrainFactory _grains;
    private readonly ClusterPlace _place;
    private readonly ILogger _log;
    private readonly RequestRules _rules;
    private readonly ConcurrentDictionary<long, ChoiceRun> _tasks = new();
    private readonly ConcurrentDictionary<string, long> _delivered = new(); // last message of each Task Executor
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watching;
    private HashSet<long> _missed = [];
    private int _unfinished;
    private long _task, _request, _rejections, _retries;
    private volatile bool _draining;

    internal ClusterEngine(ServiceOptions service, IGrainFactory grains, ClusterPlace place, ClusterView view, ModelConfig model, EngineOptions options, ILogger log)
    {
        options.Validate();
        (Service, _grains, _place, View, Options, _log) = (service, grains, place, view, options, log);
        _rules = new RequestRules(model, options, long.MaxValue);
        Id = $"{service.Worker}-{Guid.NewGuid():N}";
        JobExecutor = grains.GetGrain<IJobExecutor>(0);
        Reference = grains.CreateObjectReference<IFrontEnd>(this);
        view.Departed += Lose;
        view.Joined += Share;
        _watching = WatchAsync();
    }

    /// <inheritdoc/>
    public EngineOptions Options { get; }

    /// <inheritdoc/>
    public IReadOnlyList<EngineMetrics> Metrics => [];

    /// <inheritdoc/>
    public int CacheBlocks => View.Executors.Select(seen => seen.Info.CacheBlocks).DefaultIfEmpty(0).Min();

    /// <inheritdoc/>
    public long Rejections => Interlocked.Read(ref _rejections);

    /// <inheritdoc/>
    public int Unfinished => Volatile.Read(ref _unfinished);

    /// <summary>Times that a choice was begun again because its Task Executor had gone.</summary>
    public long Retries => Interlocked.Read(ref _retries);

    internal IReadOnlyList<ExecutorReport> Reports => [.. View.Executors.Select(seen => seen.Report)];

    internal string Id { get; }

    internal ServiceOptions Service { get; }

    internal ClusterView View { get; }

    internal IJobExecutor JobExecutor { get; }

    internal IFrontEnd Reference { get; }

    /// <summary>Ends when the service has Task Executors for every part of a request's way, and at least so many in all.</summary>
    public async Task ReadyAsync(int executors, CancellationToken cancel)
    {
        while (true)
        {
            Task changed = View.Changed;
            if (View.CanServe && View.Executors.Count >= executors)
            {
                return;
            }
            await changed.WaitAsync(cancel).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public Generation Submit(GenerationRequest request)
    {
        _rules.Check(request);
        if (_draining || Interlocked.Increment(ref _unfinished) > Options.QueueLimit + Capacity)
        {
            if (!_draining)
            {
                Interlocked.Decrement(ref _unfinished);
            }
            Interlocked.Increment(ref _rejections);
            Free(request.Ticket is { } ticket ? new HoldRecord(ticket, []) : null);
            throw new QueueFullException(Options.QueueLimit, TimeSpan.FromSeconds(1));
        }
        CancellationTokenSource abort = new();
        Generation generation = new(request, _ => abort.Cancel());
        long number = Interlocked.Increment(ref _request);
        ChoiceRun[] runs = new ChoiceRun[request.Sampling.N];
        for (int choice = 0; choice < runs.Length; choice++)
        {
            SamplingParameters sampling = request.Sampling with { N = 1, PromptLogprobs = choice == 0 ? request.Sampling.PromptLogprobs : null };
            GenerationRequest own = request with { Sampling = sampling, Stream = request.Stream ?? TeShell.StreamOf(request.Sampling, Options.Seed, number, choice) };
            runs[choice] = new ChoiceRun(this, own, choice, generation, abort.Token);
        }
        _ = RunAsync(runs, abort);
        return generation;
    }

    /// <summary>Metrics of the whole service in Prometheus' format: each Task Executor's, as far as it answers, and this front end's.</summary>
    /// <param name="prefix">Beginning of the engines' metric names.</param>
    /// <param name="modelName">The served model's name.</param>
    public async Task<string> MetricsAsync(string prefix, string modelName)
    {
        FamilyMerge merge = new();
        foreach (Task<string> text in View.Executors.Select(seen => Executor(seen.Info.Id).Metrics(prefix, modelName)).ToArray())
        {
            try
            {
                merge.Add(await text.WaitAsync(Service.HeartbeatPatience).ConfigureAwait(false));
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                // Its samples are missing, as they would be if it were scraped itself.
                _log.LogDebug(failure, "A Task Executor did not tell its metrics.");
            }
        }
        PrometheusText own = new();
        WorkerText.Write(own, Service.Worker, prefix, modelName, this);
        merge.Add(own.ToString());
        return merge.ToString();
    }

    /// <summary>How many workers each role is to have; null where nobody launches any, or the service does not answer.</summary>
    public async Task<DesiredWorkers?> DesiredAsync()
    {
        try
        {
            return await _place.Model.Desired().ConfigureAwait(false);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            _log.LogDebug(failure, "The cluster did not answer.");
            return null;
        }
    }

    /// <summary>Desires another number of workers of a role.</summary>
    /// <returns>What is desired from here on; null where nobody launches workers.</returns>
    public Task<DesiredWorkers?> WantAsync(WorkerRole role, int workers) => _place.Model.Want(role, workers);

    /// <summary>How the service's experts fare, as JSON; an empty object if nobody shares any.</summary>
    public async Task<string> ExpertsAsync()
    {
        foreach (Task<string?> asked in View.Executors.Select(seen => Executor(seen.Info.Id).Experts()).ToArray())
        {
            try
            {
                if (await asked.WaitAsync(Service.HeartbeatPatience).ConfigureAwait(false) is { } told)
                {
                    return told;
                }
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                _log.LogDebug(failure, "A Task Executor did not tell of its experts.");
            }
        }
        return ExpertStatus.Nothing;
    }

    /// <inheritdoc/>
    public async Task<bool> DrainAsync(TimeSpan patience)
    {
        _draining = true;
        long start = Stopwatch.GetTimestamp();
        while (Unfinished > 0 && Stopwatch.GetElapsedTime(start) < patience)
        {
            await Task.Delay(10).ConfigureAwait(false);
        }
        return Unfinished == 0;
    }

    /// <inheritdoc/>
    public async Task<bool> ResetPrefixCacheAsync()
    {
        bool[] done = await Task.WhenAll(View.Executors.Select(seen => Executor(seen.Info.Id).ResetPrefixCache())).ConfigureAwait(false);
        return Array.TrueForAll(done, one => one);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _draining = true;
        await _stop.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        View.Departed -= Lose;
        View.Joined -= Share;
        try
        {
            await Cluster.Unwatch(Id).WaitAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(false);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            // It forgets who does not ask for long.
        }
        _stop.Dispose();
    }

    Task IFrontEnd.Deliver(OutputBatch batch)
    {
        // A message that was answered but whose answer was lost comes again.
        if (_delivered.TryGetValue(batch.Executor, out long last) && batch.Number <= last)
        {
            return Task.CompletedTask;
        }
        _delivered[batch.Executor] = batch.Number;
        foreach (OutputRecord record in batch.Events)
        {
            if (_tasks.TryGetValue(record.Task, out ChoiceRun? run))
            {
                run.Take(record);
            }
            else if (record.Hold is { } hold)
            {
                Free(hold); // its reader has left meanwhile
            }
            else if (record is { Finish: null, Token: >= 0 })
            {
                Unreachable.Watch(Executor(batch.Executor).Abort(record.Task, Id));
            }
        }
        if (View.Find(batch.Executor) is { } seen)
        {
            seen.Report = batch.Report;
            Ask(seen);
        }
        return Task.CompletedTask;
    }

    Task IFrontEnd.Update(ClusterUpdate update)
    {
        View.Apply(update);
        Ask(View.Executors);
        return Task.CompletedTask;
    }

    internal ITaskExecutor Executor(string id) => _grains.GetGrain<ITaskExecutor>(id);

    internal long NextTask() => Interlocked.Increment(ref _task);

    internal void CountRetry() => Interlocked.Increment(ref _retries);

    internal void Register(long task, ChoiceRun run) => _tasks[task] = run;

    internal void Unregister(long task) => _tasks.TryRemove(task, out _);

    /// <summary>Frees what is held for a request that will not come for it; the lease frees what cannot be reached.</summary>
    internal void Free(HoldRecord? hold)
    {
        if (hold is not null)
        {
            Unreachable.Watch(Executor(hold.Ticket.Owner).Free(hold.Ticket));
        }
    }

    private ICluster Cluster => _place.Grain;

    private int Capacity => Options.MaxSequences * View.Executors.Where(seen => seen.Info.Role is WorkerRole.Decode or WorkerRole.Colocated).Sum(seen => seen.Info.Groups);

    /// <summary>Asks for what caches hold, where that has changed.</summary>
    private void Ask(params IEnumerable<SeenExecutor> executors)
    {
        foreach (SeenExecutor seen in executors)
        {
            if (seen.Prefixes.Ask(seen.Report.PrefixVersion))
            {
                _ = AskForPrefixesAsync(seen);
            }
        }
    }

    /// <summary>Asks a Task Executor what its caches hold, since that has changed: not at once, since it will change again.</summary>
    private async Task AskForPrefixesAsync(SeenExecutor seen)
    {
        try
        {
            await Task.Delay(s_prefixDelay, _stop.Token).ConfigureAwait(false);
            PrefixRecord record = await Executor(seen.Info.Id).Prefixes().ConfigureAwait(false);
            seen.Prefixes.Tell(new PrefixSummary(record.Names), record.Version);
        }
        catch (Exception failure) when (Unreachable.Is(failure))
        {
            seen.Prefixes.Fail(); // asked again with its next report
        }
    }

    private async Task RunAsync(ChoiceRun[] runs, CancellationTokenSource abort)
    {
        try
        {
            Task first = runs[0].RunAsync();
            if (runs.Length > 1)
            {
                // The first computes the prompt for all: the others find it in the prefix cache.
                await runs[0].Begun.ConfigureAwait(false);
            }
            await Task.WhenAll([first, .. runs[1..].Select(run => run.RunAsync())]).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _unfinished);
            // Disposed by nobody: a reader that leaves late may still cancel it.
            _ = abort;
        }
    }

    /// <summary>Asks after tasks that nothing was heard of for long: one that its Task Executor does not have, twice asked, is lost.</summary>
    private async Task MissAsync()
    {
        HashSet<long> missing = [];
        foreach (IGrouping<string?, long> quiet in _tasks.Where(pair => pair.Value.Quiet(Service.HeartbeatPatience) is not null).GroupBy(pair => pair.Value.Quiet(TimeSpan.Zero), pair => pair.Key))
        {
            if (quiet.Key is { } executor)
            {
                missing.UnionWith(await Executor(executor).Missing([.. quiet], Id).ConfigureAwait(false));
            }
        }
        foreach (long task in missing)
        {
            if (_missed.Contains(task) && _tasks.TryGetValue(task, out ChoiceRun? run) && run.Quiet(TimeSpan.Zero) is { } executor)
            {
                run.Lose(new Departure(executor, "its Task Executor does not know it any more"));
            }
        }
        _missed = missing;
    }

    private void Lose(Departure departure)
    {
        _delivered.TryRemove(departure.Id, out _);
        foreach ((_, ChoiceRun run) in _tasks)
        {
            run.Lose(departure);
        }
    }

    /// <summary>A Task Executor has come: of what waits at the others of its role, its share is placed anew, those that came last, which would wait longest.</summary>
    private void Share(string name)
    {
        if (View.Executors.FirstOrDefault(seen => seen.Info.Name == name)?.Info.Role is not { } role)
        {
            return;
        }
        string[] peers = [.. View.Executors.Where(seen => seen.Info.Role == role && !seen.Report.Draining).Select(seen => seen.Info.Id)];
        foreach (IGrouping<string?, long> waiting in _tasks.GroupBy(pair => pair.Value.Waits, pair => pair.Key))
        {
            long[] share = [.. waiting.OrderDescending().Take(waiting.Count() / peers.Length)];
            if (waiting.Key is { } executor && peers.Contains(executor) && share.Length > 0)
            {
                Unreachable.Watch(Executor(executor).Withdraw(share, Id)); // what has begun meanwhile stays
            }
        }
    }

    private async Task WatchAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                View.Apply(await Cluster.Watch(Reference, Id).ConfigureAwait(false));
                Ask(View.Executors);
                await MissAsync().ConfigureAwait(false);
            }
            catch (Exception failure) when (Unreachable.Is(failure))
            {
                _log.LogDebug(failure, "The cluster did not answer.");
            }
            try
            {
                await Task.Delay(s_watchInterval, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
