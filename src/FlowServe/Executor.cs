using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>
/// Runs planned steps on the backend, one after another, on a thread of its own: while it runs one, the DP group plans the next
/// and publishes the last. Where the backend can, the next is launched while the one before it still runs: the ids it begins with
/// are on the device. Owns the key-value cache, the token table and all buffers of a step.
/// </summary>
internal sealed class Executor : IDisposable
{
    /// <summary>While steps wait, jobs get this part of a step's time between two, or one of them its turn.</summary>
    private const int JobShare = 8;

    /// <summary>How long a launched step waits for the next one's plan before it is waited for itself: plans come within less.</summary>
    private static readonly long s_patience = Stopwatch.Frequency / 1000;

    private readonly Model model;
    private readonly Backend backend;
    private readonly EngineOptions options;
    private readonly StepTensors tensors;
    private readonly KvCache cache;
    private readonly Workspace workspace;
    private readonly ImageStage? images;
    private readonly ReadoutStage readouts;
    private readonly Speculation? speculation;
    private readonly IStepDomain? domain;
    private readonly Action decode;
    private readonly Thread thread;
    private readonly SemaphoreSlim launched = new(0), completed = new(0);
    private readonly Queue<StepPlan> plans = new(4);
    private readonly ConcurrentQueue<(Action Job, long After)> jobs = new(); // run between steps, behind those launched before; short
    private long launchedSteps; // written by the group's thread
    private long ranSteps;
    private Exception? draftFailure;
    private long copied; // ticks spent in jobs
    private volatile bool stopped;

    /// <summary>Takes memory and starts the thread.</summary>
    public Executor(Model model, Backend backend, EngineOptions options, int blocks, IReadOnlyList<int> endIds, IStepDomain? domain)
    {
        (this.model, this.backend, this.options, this.domain) = (model, backend, options, domain);
        Arena arena = backend.CreateArena(KvCache.BytesPerBlock(model.Cache, options.BlockSize) * blocks + 4096L * model.Cache.Layers.Count);
        cache = new KvCache(model.Cache, blocks, options.BlockSize, arena);
        workspace = model.CreateWorkspace(options.MaxBatchedTokens, options.MaxSequences * options.SamplesPerSequence, backend, halves: domain is not null);
        images = model.Images is null ? null : new ImageStage(backend, model.Images, options.MaxBatchedTokens);
        readouts = new ReadoutStage(model, backend, options.MaxSequences);
        tensors = new StepTensors(backend, options, model.Config.VocabularySize, endIds);
        speculation = Speculation.Create(options, model, backend, cache);
        decode = Decode;
        Port = new KvPort(backend, cache);
        thread = new Thread(Loop) { IsBackground = true, Name = "executor" };
        thread.Start();
    }

    /// <summary>Who proposes tokens; null for nobody.</summary>
    public Speculation? Speculation => speculation;

    /// <summary>The key-value cache.</summary>
    public KvCache Cache => cache;

    /// <summary>Steps that were launched while the one before them ran.</summary>
    public long AheadSteps { get; private set; }

    /// <summary>Carries positions in and out of the cache, in jobs.</summary>
    public KvPort Port { get; }

    /// <summary>Has the executor's thread do something short behind the steps launched so far, in the order of posting. It must not throw. Any thread.</summary>
    public void Post(Action job)
    {
        jobs.Enqueue((job, Volatile.Read(ref launchedSteps)));
        launched.Release();
        domain?.Wake();
    }

    /// <summary>Bytes of the key-value cache.</summary>
    public long CacheBytes => KvCache.BytesPerBlock(model.Cache, options.BlockSize) * cache.Blocks;

    /// <summary>Hands a step over; the plan belongs to the executor until <see cref="Wait"/> has returned for it.</summary>
    public void Launch(StepPlan plan)
    {
        lock (plans)
        {
            plans.Enqueue(plan);
            Volatile.Write(ref launchedSteps, launchedSteps + 1); // not before: a job that counts a step finds it in the queue
        }
        launched.Release();
        domain?.Wake();
    }

    /// <summary>Waits for the oldest step that was not waited for. Steps end in order.</summary>
    public void Wait() => completed.Wait();

    /// <inheritdoc/>
    public void Dispose()
    {
        stopped = true;
        launched.Release();
        domain?.Wake();
        thread.Join();
        speculation?.Dispose();
        tensors.Dispose();
        images?.Dispose();
        readouts.Dispose();
        workspace.Dispose();
        cache.Dispose();
        launched.Dispose();
        completed.Dispose();
    }

    private void Loop()
    {
        bool worked = false; // a job had its turn since the last step
        long until = 0;      // end of the jobs' time
        backend.BindCaller();
        while (true)
        {
            // Once for each step and each job.
            Accompany(domain);
            StepPlan? plan = null;
            bool ready = jobs.TryPeek(out (Action Job, long After) first) && first.After <= ranSteps;
            if (!ready || (worked && Stopwatch.GetTimestamp() >= until))
                lock (plans)
                    plans.TryDequeue(out plan);
            if (plan is null && ready && jobs.TryDequeue(out (Action Job, long After) next))
            {
                long start = Stopwatch.GetTimestamp();
                next.Job();
                worked = true;
                copied += Stopwatch.GetTimestamp() - start;
                continue;
            }
            if (plan is null)
            {
                if (stopped)
                    return;
                continue;
            }
            long took = RunOnes(plan);
            (worked, until) = (false, Stopwatch.GetTimestamp() + (took / JobShare));
        }
    }

    /// <summary>Runs a step, and those behind it as long as each is planned before the one before it has ended.</summary>
    /// <returns>Ticks that the last one took.</returns>
    private long RunOnes(StepPlan plan)
    {
        (StepPlan Plan, long Started)? before = null; // launched; its samples are not here yet
        long ended = 0;
        for (StepPlan? now = plan; now is not null;)
        {
            long started = Stopwatch.GetTimestamp();
            bool later = Start(now);
            AheadSteps += before is null ? 0 : 1;
            if (before is { } first)
                ended = End(first.Plan, Math.Max(first.Started, ended), awaited: true);
            if (!later)
                return End(now, Math.Max(started, ended), awaited: false) - Math.Max(started, ended);
            before = (now, started);
            now = Following();
        }
        long from = Math.Max(before!.Value.Started, ended);
        return End(before.Value.Plan, from, awaited: true) - from;
    }

    /// <summary>Launches a step and, unless its samples are to come later, waits for it.</summary>
    /// <returns>Whether they are to come later.</returns>
    private bool Start(StepPlan plan)
    {
        plan.Results.Failure = null;
        plan.Results.Prompt.Clear();
        plan.Results.Readouts.Clear();
        try
        {
            return Run(plan);
        }
#pragma warning disable CA1031 // Whatever stopped the step, its sequences end with an error and the engine goes on.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            plan.Results.Failure = failure;
            return false;
        }
    }

    /// <summary>Hands a step's results over.</summary>
    /// <param name="plan">The step.</param>
    /// <param name="from">When it began, or the one before it ended.</param>
    /// <param name="awaited">Whether its samples must be waited for.</param>
    /// <returns>When it ended.</returns>
    private long End(StepPlan plan, long from, bool awaited)
    {
        try
        {
            if (awaited)
                tensors.EndDownload(plan);
        }
#pragma warning disable CA1031 // As above.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            plan.Results.Failure = failure;
        }
        long ended = plan.Results.EndedAt = Stopwatch.GetTimestamp();
        plan.Results.Seconds = Stopwatch.GetElapsedTime(from, ended).TotalSeconds;
        plan.Results.CopiedAtEnd = copied;
        plan.Results.PausedAtEnd = GC.GetTotalPauseDuration();
        completed.Release();
        Draft(plan);
        ranSteps++;
        return ended;
    }

    /// <summary>The next step, if its plan comes before the launched one has ended and it can be launched before that; null otherwise.</summary>
    private StepPlan? Following()
    {
        SpinWait spin = default;
        for (long end = Stopwatch.GetTimestamp() + s_patience; !launched.Wait(0); spin.SpinOnce(sleep1Threshold: -1))
            if (backend.DownloadIsHere || Stopwatch.GetTimestamp() > end)
                return null;
        lock (plans)
            if (jobs.IsEmpty && plans.TryPeek(out StepPlan? plan) && plan.OnlyDecodes)
                return plans.Dequeue();
        launched.Release(); // a job, or a step that is not so simple: the loop's turn
        return null;
    }

    /// <summary>Proposes what follows a step, while the DP group publishes it and plans the next.</summary>
    private void Draft(StepPlan plan)
    {
        if (speculation is null || plan.Results.Failure is not null)
            return;
        try
        {
            speculation.Draft(plan, tensors.TokenTable, workspace);
        }
#pragma warning disable CA1031 // The sequences whose proposals failed are those of the next step, which ends with the error.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            draftFailure = failure;
        }
    }

    /// <summary>Takes part in the steps of other groups until this one has a step of its own.</summary>
    private void Accompany(IStepDomain? others)
    {
        if (others is null)
        {
            launched.Wait();
            return;
        }
        while (!launched.Wait(0))
        {
            try
            {
                if (others.WaitForPeers())
                    others.Accompany();
            }
#pragma warning disable CA1031 // Whatever it is, the domain may get over it.
            catch (Exception failure)
#pragma warning restore CA1031
            {
                Await(others, failure);
            }
        }
    }

    /// <summary>What a group without work does about a domain that has failed.</summary>
    private static void Await(IStepDomain others, Exception failure)
    {
        try
        {
            others.Recover(failure);
        }
        catch (IOException)
        {
            // Whoever has work for the group hears of it, from the step.
        }
    }

    /// <summary>Runs the layers, hand in hand with the domain's other groups; again from the beginning if one of them dies.</summary>
    private void Forward(IStepDomain others, IReadOnlyList<EmbeddedRows>? embedded)
    {
        while (true)
        {
            try
            {
                bool split = others.MicroBatches > 1 && tensors.CanSplit;
                (int first, int second) = tensors.RowsOf(split);
                Forward(embedded, others.Enter(first, second) ? tensors.Halves(split) : null);
                return;
            }
#pragma warning disable CA1031 // As above.
            catch (Exception failure)
#pragma warning restore CA1031
            {
                others.Recover(failure);
            }
        }
    }

    /// <returns>Whether the samples are still to come (<see cref="StepTensors.EndDownload"/>).</returns>
    private bool Run(StepPlan plan)
    {
        if (draftFailure is { } failure)
        {
            draftFailure = null;
            throw failure;
        }
        tensors.Upload(plan);
        // Images are encoded outside a recorded step.
        IReadOnlyList<EmbeddedRows>? embedded = images?.Gather(plan);
        if (embedded is null && domain is null && tensors.DecodeShape is { } shape)
        {
            backend.Repeat(shape, decode);
        }
        else
        {
            if (domain is null)
                Forward(embedded);
            else
                Forward(domain, embedded);
            PromptLogprobs(plan);
            if (plan.HasReadouts)
                readouts.Run(plan, workspace, tensors.Logits);
            if (plan.Samples == 0)
            {
                backend.Synchronize();
                return false;
            }
            Sample();
        }
        // A domain's groups wait for each other between layers, and proposals are made from what was sampled.
        if (domain is null && speculation is null && tensors.TryBeginDownload(plan))
            return true;
        tensors.Download(plan, tensors.SampledLogits);
        return false;
    }

    private void Decode()
    {
        Forward(null);
        Sample();
    }

    private void Forward(IReadOnlyList<EmbeddedRows>? embedded, MicroBatches? halves = null) =>
        model.Forward(new ForwardBatch(tensors.GatherIds(), tensors.Batch, embedded, halves), cache, workspace);

    private void Sample()
    {
        model.Logits(tensors.SampledLogits, tensors.SampledRows, workspace);
        backend.Sample(tensors.SampledIds, tensors.SampledLogits, tensors.Sampling);
    }

    /// <summary>Scores prompt tokens by the position before each, as many rows of logits at a time as there is room for.</summary>
    private void PromptLogprobs(StepPlan plan)
    {
        int row = 0;
        foreach (PlannedWork work in plan.Entries)
        {
            Sequence sequence = work.Sequence;
            if (work.Sequence.Request.Sampling.PromptLogprobs is { } top && !sequence.PromptDone && sequence.Choice == 0)
            {
                int end = Math.Min(work.Length, sequence.PromptLength - 1);
                for (int position = work.Start; position < end; position += options.MaxSequences)
                {
                    int count = Math.Min(options.MaxSequences, end - position);
                    Tensor logits = tensors.Logits.Take(count);
                    model.Logits(logits, tensors.Rows(row + position - work.Start, count), workspace);
                    tensors.ScorePrompt(plan.Results, sequence, position, count, top, logits);
                }
            }
            row += work.Count;
        }
    }
}
