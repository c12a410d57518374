using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.FlowServe.Tiers;
using XDeepServe.FlowServe.Tracing;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// A self-contained replica of the engine: its own scheduler, cache and executor, driven by one thread that does nothing but
/// <see cref="Step"/> (paper §4.1). Each step plans ahead of the one that runs.
/// </summary>
internal sealed class DpGroup : IDisposable
{
    private static readonly TimeSpan s_arrivalPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_flushPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_sweepInterval = TimeSpan.FromMilliseconds(100);
    private readonly EngineOptions options;
    private readonly TensorCache cache;
    private readonly Scheduler scheduler;
    private readonly Executor executor;
    private readonly ConcurrentQueue<Action> inbox = new(); // what other threads want done, by this group's thread
    private readonly Action<int>? published;
    private readonly IStepDomain? domain;
    private readonly SemaphoreSlim bell = new(0);
    private readonly StepPlan[] plans;
    private readonly Thread? thread;
    private readonly StepClock clock;
    private readonly CollectionPace? pace;
    private StepPlan? running;
    private long usedPositions;
    private long runningSince; // when it was launched
    private bool follows;      // whether another ran then
    private bool working;      // whether the pace knows of work
    private long step;
    private volatile bool stopped;

    /// <summary>Takes memory; starts the thread unless the caller steps the group itself.</summary>
    /// <param name="number">Names the group within its Task Executor.</param>
    /// <param name="model">The model; stays the caller's.</param>
    /// <param name="backend">Runs it; stays the caller's.</param>
    /// <param name="options">Settings.</param>
    /// <param name="pace">Collects garbage for the process; null to leave that to the runtime.</param>
    /// <param name="published">Called with the group's number when all output of a turn has been pushed.</param>
    /// <param name="threaded">Whether to start a thread.</param>
    /// <param name="domain">Groups that take their steps together with this one; null for none.</param>
    public DpGroup(int number, Model model, Backend backend, EngineOptions options, CollectionPace? pace, Action<int>? published, bool threaded, IStepDomain? domain = null)
    {
        (this.options, this.pace, this.published, this.domain, Number) = (options, pace, published, domain, number);
        Blocks = options.BlocksFor(model, backend);
        Metrics = new EngineMetrics(options.MaxModelLength) { Speculation = options.Speculation is { } asked ? new SpeculationMetrics(asked.Tokens) : null, Mixture = domain?.Metrics };
        clock = new StepClock(Metrics);
        cache = new TensorCache(Blocks, options.BlockSize, options.PrefixCaching, new BlockResidency(Blocks, Metrics));
        Prefill = new PrefillLoad(options, cache.Prefixes);
        executor = new Executor(model, backend, options, Blocks, model.Config.EosIds, domain);
        scheduler = new Scheduler(options, cache)
        {
            Proposals = executor.Speculation is { } speculation ? new Proposals(speculation, options.Speculation!.DisableBySequences) : null,
        };
        Holds = new KvHolds(number, cache, options.HoldLease);
        if (options.Tiers is { } below)
        {
            Tiers = cache.Tiers = CacheTiers.Open(below, options, Blocks, executor, Wake, Prefill.Model);
            Metrics.Tiers = Tiers.Metrics;
            scheduler.Supplies.Add(Tiers);
        }
        int maxBlocks = (options.MaxModelLength + options.BlockSize - 1) / options.BlockSize;
        plans = [new StepPlan(options.MaxSequences, maxBlocks), new StepPlan(options.MaxSequences, maxBlocks)];
        if (!threaded)
            return;
        thread = new Thread(Loop) { IsBackground = true, Name = $"dp-group-{number}" };
        thread.Start();
    }

    /// <summary>Names the group within its Task Executor.</summary>
    public int Number { get; }

    /// <summary>Cache blocks.</summary>
    public int Blocks { get; }

    /// <summary>Cache positions in use when the last turn ended. Any thread.</summary>
    public long UsedPositions => Volatile.Read(ref usedPositions);

    /// <summary>Bytes of the key-value cache.</summary>
    public long CacheBytes => executor.CacheBytes;

    /// <summary>Those that run or wait. The group's thread.</summary>
    public IEnumerable<Sequence> Sequences => scheduler.Running.Concat(scheduler.Waiting);

    /// <summary>What the group tells of its prefill.</summary>
    public PrefillLoad Prefill { get; }

    /// <summary>Assigns prompts to groups, before any of them turns; null where requests are dispatched as they come.</summary>
    public PrefillLeader? Leader { get; set; }

    /// <summary>What the group has done.</summary>
    public EngineMetrics Metrics { get; }

    /// <summary>The key-value cache. The executor's thread alone writes blocks that a step uses.</summary>
    public KvCache Cache => executor.Cache;

    /// <summary>Carries positions in and out of the cache; only in <see cref="PostToExecutor"/>.</summary>
    public KvPort Port => executor.Port;

    /// <summary>Steps that were launched while the one before them ran.</summary>
    internal long AheadSteps => executor.AheadSteps;

    /// <summary>Has the executor's thread do something short between steps; it must not throw. Any thread.</summary>
    public void PostToExecutor(Action job) => executor.Post(job);

    /// <summary>Blocks of requests that go on elsewhere.</summary>
    public KvHolds Holds { get; }

    /// <summary>What stands behind the device's cache; null for nothing.</summary>
    public CacheTiers? Tiers { get; }

    /// <summary>Adds something that brings keys and values, and is asked before the tiers: it holds them for one request, as far as that has come. Before the first request; it stays the caller's, and must outlive the group.</summary>
    public void AddSupply(IKvSupply supply) => scheduler.Supplies.Insert(0, supply);

    /// <summary>Takes a request in. Any thread.</summary>
    public void Submit(Submission submission) => Post(() => Take(submission));

    /// <summary>Frees what a request holds, within a step. Any thread.</summary>
    public void Abort(Submission submission) => Post(() => End(submission.Sequences, "abort"));

    /// <summary>Ends a request that has not begun; what is held for it elsewhere stays. Any thread.</summary>
    public void Withdraw(Submission submission) => Post(() => End(submission.TryLeave() ? submission.Sequences : [], "withdrawn"));

    /// <summary>Has the group's thread do something at the beginning of a turn. Any thread.</summary>
    public void Post(Action action)
    {
        inbox.Enqueue(action);
        Wake();
    }

    /// <summary>Makes the group take a turn. Any thread.</summary>
    public void Wake()
    {
        Interlocked.MemoryBarrier(); // whoever answers a ring that is there already sees what was written before this
        if (bell.CurrentCount == 0)  // one ring is enough: whoever waits looks at everything
            bell.Release();
    }

    /// <summary>Forgets cached prefixes; false while sequences run. Any thread.</summary>
    public Task<bool> ResetPrefixCache()
    {
        TaskCompletionSource<bool> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() => done.SetResult(running is null && cache.TryReset()));
        return done.Task;
    }

    /// <summary>Answered when the group's thread turns: a hung executor leaves it open (paper §6.1). Any thread.</summary>
    public Task Ping()
    {
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(done.SetResult);
        return done.Task;
    }

    /// <summary>Receive, schedule, run, sample, publish: one turn of the duty cycle.</summary>
    /// <returns>False if there was nothing to do.</returns>
    public bool Step()
    {
        Leader?.Turn(Number);
        Receive();
        Holds.Sweep(); // before the step is planned: someone may wait for these blocks, and nobody wakes the group for them
        cache.TurnTiers(busy: running is not null);
        bool busy = running is not null;
        scheduler.Proposals?.Begin(Math.Min(scheduler.Running.Count + scheduler.Waiting.Count, options.MaxSequences));
        if (running is not null && (running.Drafts > 0 || scheduler.Proposals is { Active: true }))
        {
            // How far proposals were accepted decides where the next step begins; what is proposed, what its tokens are.
            Publish(running);
            running = null;
        }
        StepPlan? planned = Schedule();
        long launchedAt = Stopwatch.GetTimestamp();
        if (planned is not null)
            executor.Launch(planned);
        if (running is not null)
            Publish(running);
        busy |= planned is not null;
        (follows, running, runningSince) = (running is not null, planned, launchedAt);
        Report();
        published?.Invoke(Number);
        pace?.Turn(busy, ref working);
        return busy;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stopped = true;
        bell.Release();
        thread?.Join();
        if (running is not null)
            executor.Wait();
        Receive();
        foreach (Sequence sequence in scheduler.Running.Concat(scheduler.Waiting).Concat(scheduler.Arriving).ToArray())
            Finish(sequence, "abort", pushed: false);
        // Whoever fills blocks must have stopped before they are freed.
        if (!SpinWait.SpinUntil(() => scheduler.Collect() == 0, s_arrivalPatience))
            throw new TimeoutException($"{scheduler.Arriving.Count} fetches into the cache did not end within {s_arrivalPatience.TotalSeconds:F0} s of being cancelled.");
        published?.Invoke(Number);
        cache.FlushTiers(s_flushPatience);
        executor.Dispose();
        Tiers?.Dispose();
        bell.Dispose();
    }

    private void Loop()
    {
        while (!stopped)
            if (!Step())
                bell.Wait(Holds.Count > 0 ? s_sweepInterval : Timeout.InfiniteTimeSpan);
    }

    private void Receive()
    {
        while (inbox.TryDequeue(out Action? action))
            action();
    }

    private void Take(Submission submission)
    {
        Prefill.Receive(submission);
        if (submission.Output.Aborted)
            End(submission.Sequences, "abort"); // left before it arrived: it ends as any other, so that its place in the queue is free again
        else
            foreach (Sequence sequence in submission.Sequences)
                if (!sequence.Finished) // ended on its way here
                    scheduler.Add(sequence);
    }

    private void End(Sequence[] sequences, string reason)
    {
        foreach (Sequence sequence in sequences)
            Finish(sequence, reason, pushed: false);
    }

    private StepPlan? Schedule()
    {
        StepPlan plan = plans[step % plans.Length];
        scheduler.Plan(plan, step);
        if (plan.Work.Count == 0)
            return null;
        step++;
        long now = Stopwatch.GetTimestamp();
        for (int i = 0; i < plan.Work.Count; i++)
        {
            Sequence sequence = plan.Work[i].Sequence;
            if (sequence.AdmittedAt != 0)
                continue;
            sequence.AdmittedAt = now;
            sequence.Submission!.CachedTokens = Math.Max(0, sequence.CachedTokens);
            Metrics.Queue.Observe(EngineMetrics.Seconds(sequence.ArrivedAt, now));
        }
        return plan;
    }

    /// <summary>Waits for a step's results and hands them out.</summary>
    private void Publish(StepPlan plan)
    {
        executor.Wait();
        clock.Observe(plan, runningSince, follows);
        Metrics.StepCount++;
        Metrics.StepTokens.Observe(plan.Tokens);
        if (plan.Results.Failure is null)
        {
            Prefill.Model.Observe(plan.Tokens, plan.Pairs, plan.Results.Seconds);
            Tiers?.Cost.ObserveStep(plan.Results.Seconds);
        }
        StepResults results = plan.Results;
        for (int i = 0; i < results.Prompt.Count; i++)
        {
            (Sequence sequence, int position, TokenLogprob entry) = results.Prompt[i];
            Submission output = sequence.Submission!;
            output.PromptLogprobs ??= new TokenLogprob?[sequence.PromptLength];
            output.PromptLogprobs[position] = entry;
        }
        int sample = 0, sampling = 0;
        long now = Stopwatch.GetTimestamp();
        for (int i = 0; i < plan.Work.Count; i++)
        {
            PlannedWork work = plan.Work[i];
            int place = sample, accepted = 0;
            if (work.Samples)
            {
                sample += 1 + work.Drafts;
                accepted = results.Failure is null ? results.Accepted[sampling++] : 0;
            }
            if (work.Sequence.Finished)
                continue;
            if (results.Failure is { } failure)
                Fail(work.Sequence, failure);
            else
                Publish(work, results, place, accepted, now);
        }
        scheduler.Proposals?.Observe(plan, now);
        foreach ((Sequence sequence, float[] values) in results.Readouts)
            Publish(sequence, values);
    }

    private void Publish(Sequence sequence, float[] values)
    {
        if (sequence.Finished)
            return;
        if (!Array.TrueForAll(values, float.IsFinite))
        {
            Fail(sequence, new NotFiniteNumberException(Readout.NoNumbers));
            return;
        }
        sequence.Submission!.Start(Number);
        sequence.Output!.End(values);
        Finish(sequence, "stop", pushed: true);
    }

    private void Publish(PlannedWork work, StepResults results, int place, int accepted, long now)
    {
        Sequence sequence = work.Sequence;
        if (!sequence.PromptDone)
            Metrics.PromptTokens += Math.Min(work.Length, sequence.PromptLength) - work.Start + (work.Start == sequence.CachedTokens ? sequence.CachedTokens : 0);
        sequence.PromptDone |= work.Length >= sequence.PromptLength;
        cache.Commit(sequence, Math.Min(work.Length, sequence.Known.Length));
        if (!work.Samples)
            return;
        sequence.Reject(work.Drafts - accepted);
        sequence.Drafted = work.Next;
        if (work.Drafts > 0)
            Metrics.Speculation!.Observe(work.Drafts, accepted);
        Submission output = sequence.Submission!;
        output.CachedTokens = Math.Max(0, sequence.CachedTokens);
        Metrics.Tokens(sequence, now);
        output.Start(Number);
        for (int i = place; i <= place + accepted && !sequence.Finished; i++)
            Publish(sequence, results, i);
    }

    private void Publish(Sequence sequence, StepResults results, int place)
    {
        int token = results.Ids[place];
        Metrics.GenerationTokens++;
        sequence.AddKnown(token);
        TokenLogprob? logprob = sequence.Request.Sampling.Logprobs is { } top
            ? StepTensors.Entry(token, results.Chosen, results.TopIds, results.TopValues, place, results.TopCount, top)
            : null;
        if (sequence.Output!.Take(token, logprob) is { } reason)
            Finish(sequence, reason, pushed: true);
        else if (sequence.Known.Length == sequence.Limit)
            HandOver(sequence);
    }

    /// <summary>The sequence goes on elsewhere; its blocks stay until they were fetched.</summary>
    private void HandOver(Sequence sequence)
    {
        KvHold hold = Holds.Add(sequence);
        scheduler.Remove(sequence);
        Metrics.HandOvers++;
        RequestTrace.End(sequence, Number, RequestTrace.HandedOver);
        sequence.Submission!.EndChoice(whole: false);
        sequence.Submission.Output.HandOver(hold);
    }

    private void Fail(Sequence sequence, Exception failure)
    {
        sequence.Submission!.Output.Fail(failure);
        Finish(sequence, "error", pushed: false);
    }

    private void Finish(Sequence sequence, string reason, bool pushed)
    {
        if (sequence.Finished)
            return;
        scheduler.Remove(sequence);
        RequestTrace.End(sequence, Number, reason);
        sequence.Submission!.EndChoice(whole: reason is "stop" or "length");
        if (!pushed)
            sequence.Output!.End(reason);
        Metrics.Finish(sequence, reason);
    }

    private void Report()
    {
        Prefill.Tell(scheduler);
        (Metrics.Running, Metrics.Waiting, Metrics.Arriving, Metrics.Held) = (scheduler.Running.Count, scheduler.Waiting.Count + Metrics.Undispatched + (Number == 0 ? Leader?.Waiting ?? 0 : 0), scheduler.Arriving.Count, Holds.Count);
        Volatile.Write(ref usedPositions, (long)cache.Pool.InUse * options.BlockSize);
        Metrics.DispatchedRows = domain?.DispatchedRows ?? 0;
        Metrics.CacheUsage = (double)cache.Pool.InUse / cache.Pool.Blocks;
        (Metrics.PrefixQueries, Metrics.PrefixHits, Metrics.Preemptions) = (cache.Queries, cache.Hits, scheduler.Preemptions);
    }
}
