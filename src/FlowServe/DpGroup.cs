using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// A self-contained replica of the engine: its own scheduler, cache and executor, driven by one thread that does nothing but
/// <see cref="Step"/> (paper §4.1). Each step plans ahead of the one that runs.
/// </summary>
internal sealed class DpGroup : IDisposable
{
    private readonly EngineOptions options;
    private readonly TensorCache cache;
    private readonly Scheduler scheduler;
    private readonly Executor executor;
    private readonly ConcurrentQueue<(Generation Generation, bool Abort)> inbox = new();
    private readonly ConcurrentQueue<TaskCompletionSource<bool>> resets = new();
    private readonly SemaphoreSlim bell = new(0);
    private readonly StepPlan[] plans;
    private readonly Thread? thread;
    private StepPlan? running;
    private long step;
    private volatile bool stopped;

    /// <summary>Takes memory; starts the thread unless the caller steps the group itself.</summary>
    public DpGroup(Model model, Backend backend, EngineOptions options, IReadOnlyList<int> endIds, bool threaded)
    {
        this.options = options;
        Blocks = BlocksFor(model, backend, options);
        Metrics = new EngineMetrics(options.MaxModelLength);
        cache = new TensorCache(Blocks, options.BlockSize, options.PrefixCaching, new BlockResidency(Blocks, Metrics));
        scheduler = new Scheduler(options, cache);
        executor = new Executor(model, backend, options, Blocks, endIds);
        int maxBlocks = (options.MaxModelLength + options.BlockSize - 1) / options.BlockSize;
        plans = [new StepPlan(options.MaxSequences, maxBlocks), new StepPlan(options.MaxSequences, maxBlocks)];
        if (!threaded)
            return;
        thread = new Thread(Loop) { IsBackground = true, Name = "dp-group" };
        thread.Start();
    }

    /// <summary>Cache blocks.</summary>
    public int Blocks { get; }

    /// <summary>Bytes of the key-value cache.</summary>
    public long CacheBytes => executor.CacheBytes;

    /// <summary>What the group has done.</summary>
    public EngineMetrics Metrics { get; }

    /// <summary>Takes a request in. Any thread.</summary>
    public void Submit(Generation generation)
    {
        inbox.Enqueue((generation, false));
        bell.Release();
    }

    /// <summary>Frees what a request holds, within a step. Any thread.</summary>
    public void Abort(Generation generation)
    {
        inbox.Enqueue((generation, true));
        bell.Release();
    }

    /// <summary>Forgets cached prefixes; false while sequences run. Any thread.</summary>
    public Task<bool> ResetPrefixCache()
    {
        TaskCompletionSource<bool> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        resets.Enqueue(done);
        bell.Release();
        return done.Task;
    }

    /// <summary>Receive, schedule, run, sample, publish: one turn of the duty cycle.</summary>
    /// <returns>False if there was nothing to do.</returns>
    public bool Step()
    {
        Receive();
        StepPlan? planned = Schedule();
        if (planned is not null)
            executor.Launch(planned);
        bool busy = planned is not null || running is not null;
        if (running is not null)
            Publish(running);
        running = planned;
        Report();
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
        foreach (Sequence sequence in scheduler.Running.Concat(scheduler.Waiting).ToArray())
            Finish(sequence, "abort", pushed: false);
        executor.Dispose();
        bell.Dispose();
    }

    private static int BlocksFor(Model model, Backend backend, EngineOptions options)
    {
        if (options.NumBlocksOverride is { } blocks)
            return blocks;
        long perBlock = KvCache.BytesPerBlock(model.Cache, options.BlockSize);
        long perSequence = (options.MaxModelLength + options.BlockSize - 1) / options.BlockSize;
        long count = options.KvCacheBytes > 0
            ? options.KvCacheBytes / perBlock
            : Math.Max(perSequence, Math.Min(perSequence * options.MaxSequences, backend.CacheLimit / perBlock));
        if (count < 1)
            throw new ArgumentException($"A cache of {options.KvCacheBytes} bytes holds no block of {perBlock}; give it more memory.");
        return (int)Math.Min(count, int.MaxValue / options.BlockSize);
    }

    private void Loop()
    {
        while (!stopped)
            if (!Step())
                bell.Wait();
    }

    private void Receive()
    {
        while (inbox.TryDequeue(out (Generation Generation, bool Abort) message))
        {
            foreach (Sequence sequence in message.Generation.Sequences)
            {
                // A request that was left before it arrived ends as any other, so that its place in the queue is free again.
                if (message.Abort || message.Generation.Aborted)
                    Finish(sequence, "abort", pushed: false);
                else
                    scheduler.Add(sequence);
            }
        }
        while (resets.TryDequeue(out TaskCompletionSource<bool>? reset))
            reset.SetResult(running is null && cache.TryReset());
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
            sequence.Output!.Generation.CachedTokens = Math.Max(0, sequence.CachedTokens);
            Metrics.Queue.Observe(EngineMetrics.Seconds(sequence.ArrivedAt, now));
        }
        return plan;
    }

    /// <summary>Waits for a step's results and hands them out.</summary>
    private void Publish(StepPlan plan)
    {
        executor.Wait();
        Metrics.StepCount++;
        Metrics.StepTokens.Observe(plan.Tokens);
        StepResults results = plan.Results;
        for (int i = 0; i < results.Prompt.Count; i++)
        {
            (Sequence sequence, int position, TokenLogprob entry) = results.Prompt[i];
            Generation output = sequence.Output!.Generation;
            output.PromptLogprobs ??= new TokenLogprob?[sequence.PromptLength];
            output.PromptLogprobs[position] = entry;
        }
        int sample = 0;
        long now = Stopwatch.GetTimestamp();
        for (int i = 0; i < plan.Work.Count; i++)
        {
            PlannedWork work = plan.Work[i];
            int place = work.Samples ? sample++ : -1;
            if (work.Sequence.Finished)
                continue;
            if (results.Failure is { } failure)
                Fail(work.Sequence, failure);
            else
                Publish(work, results, place, now);
        }
    }

    private void Publish(PlannedWork work, StepResults results, int place, long now)
    {
        Sequence sequence = work.Sequence;
        if (!sequence.PromptDone)
            Metrics.PromptTokens += Math.Min(work.Length, sequence.PromptLength) - work.Start + (work.Start == sequence.CachedTokens ? sequence.CachedTokens : 0);
        sequence.PromptDone |= work.Length >= sequence.PromptLength;
        cache.Commit(sequence, Math.Min(work.Length, sequence.Known.Length));
        if (place < 0)
            return;
        int token = results.Ids[place];
        Generation output = sequence.Output!.Generation;
        output.CachedTokens = Math.Max(0, sequence.CachedTokens);
        if (output.FirstTokenAt == 0)
        {
            output.FirstTokenAt = now;
            Metrics.TimeToFirstToken.Observe(EngineMetrics.Seconds(sequence.ArrivedAt, now));
            Metrics.Prefill.Observe(EngineMetrics.Seconds(sequence.AdmittedAt, now));
        }
        else if (output.LastTokenAt != now)
        {
            Metrics.InterToken.Observe(EngineMetrics.Seconds(output.LastTokenAt, now));
        }
        output.LastTokenAt = now;
        Metrics.GenerationTokens++;
        sequence.AddKnown(token);
        TokenLogprob? logprob = sequence.Request.Sampling.Logprobs is { } top
            ? StepTensors.Entry(token, results.Chosen, results.TopIds, results.TopValues, place, results.TopCount, top)
            : null;
        if (sequence.Output.Take(token, logprob) is { } reason)
            Finish(sequence, reason, pushed: true);
    }

    private void Fail(Sequence sequence, Exception failure)
    {
        sequence.Output!.Generation.Failure ??= failure;
        Finish(sequence, "error", pushed: false);
    }

    private void Finish(Sequence sequence, string reason, bool pushed)
    {
        if (sequence.Finished)
            return;
        scheduler.Remove(sequence);
        if (!pushed)
            sequence.Output!.End(reason);
        Metrics.Finish(sequence, reason);
    }

    private void Report()
    {
        (Metrics.Running, Metrics.Waiting) = (scheduler.Running.Count, scheduler.Waiting.Count);
        Metrics.CacheUsage = (double)cache.Pool.InUse / cache.Pool.Blocks;
        (Metrics.PrefixQueries, Metrics.PrefixHits, Metrics.Preemptions) = (cache.Queries, cache.Hits, scheduler.Preemptions);
    }
}
