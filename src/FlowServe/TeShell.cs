using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Text;

namespace XDeepServe.FlowServe;

/// <summary>
/// The front of a Task Executor (paper §4.1): checks requests, hands them to DP groups, drains. Everything else is the groups'.
/// Any thread. Owns neither model nor backend; both must outlive it.
/// </summary>
public sealed class TeShell : IEngine, IDisposable
{
    private readonly Model model;
    private readonly Tokenizer? tokenizer;
    private readonly DpGroup[] groups;
    private readonly Dispatcher dispatcher;
    private readonly RequestRules rules;
    private readonly CollectionPace? pace;
    private int queued; // requests that have not ended
    private long submitted;
    private long rejections;
    private volatile bool draining;

    /// <summary>Starts an engine.</summary>
    /// <param name="model">The model.</param>
    /// <param name="backend">Runs it.</param>
    /// <param name="tokenizer">Makes text; null to serve ids only.</param>
    /// <param name="options">Settings.</param>
    /// <param name="published">Called with a DP group's number, by its thread, when all output of a turn has been pushed: whoever gathers output sends it then.</param>
    /// <param name="domain">DP groups elsewhere that take their steps together with this engine's; null for none. Stays the caller's, and must outlive the engine.</param>
    /// <exception cref="ArgumentException">The settings cannot work together.</exception>
    public TeShell(Model model, Backend backend, Tokenizer? tokenizer, EngineOptions options, Action<int>? published = null, IStepDomain? domain = null)
        : this(model, [backend], tokenizer, options, published, threaded: true, domain)
    {
    }

    /// <summary>Starts an engine of several DP groups, each of which has a cache of its own; they share the weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="backends">[groups] each runs a DP group; of the kind and settings of the one that loaded the model.</param>
    /// <param name="tokenizer">Makes text; null to serve ids only.</param>
    /// <param name="options">Settings, of each group.</param>
    /// <param name="published">Called with a DP group's number, by its thread, when all output of a turn has been pushed.</param>
    /// <param name="domain">DP groups elsewhere that take their steps together with this engine's one; null for none.</param>
    /// <exception cref="ArgumentException">The settings cannot work together.</exception>
    public TeShell(Model model, IReadOnlyList<Backend> backends, Tokenizer? tokenizer, EngineOptions options, Action<int>? published = null, IStepDomain? domain = null)
        : this(model, backends, tokenizer, options, published, threaded: true, domain)
    {
    }

    internal TeShell(Model model, IReadOnlyList<Backend> backends, Tokenizer? tokenizer, EngineOptions options, Action<int>? published, bool threaded, IStepDomain? domain = null)
    {
        options.Speculation?.Validate(model, options.MaxModelLength);
        options.Validate();
        if (backends.Count == 0 || (domain is not null && backends.Count > 1))
            throw new ArgumentException("An engine has at least one DP group, and exactly one where it takes its steps together with others.");
        if (options.MaxModelLength > model.MaxLength)
            throw new ArgumentException($"The model was loaded for {model.MaxLength} tokens; the engine cannot serve {options.MaxModelLength}.");
        (this.model, this.tokenizer, Options) = (model, tokenizer, options);
        pace = options.CollectionInterval > 0 ? new CollectionPace(options.CollectionInterval, options.CollectionBudget) : null;
        groups = [.. backends.Select((backend, number) => new DpGroup(number, model, backend, options, pace, published, threaded, domain))];
        dispatcher = new Dispatcher(groups, options);
        rules = new RequestRules(model.Config, options, (long)groups[0].Blocks * options.BlockSize);
    }

    /// <inheritdoc/>
    public EngineOptions Options { get; }

    /// <inheritdoc/>
    public IReadOnlyList<EngineMetrics> Metrics => [.. groups.Select(group => group.Metrics)];

    /// <inheritdoc/>
    public int CacheBlocks => groups[0].Blocks;

    /// <summary>Bytes of the key-value cache.</summary>
    public long CacheBytes => groups.Sum(group => group.CacheBytes);

    /// <inheritdoc/>
    public long Rejections => Interlocked.Read(ref rejections);

    /// <inheritdoc/>
    public int Unfinished => Volatile.Read(ref queued);

    /// <summary>How its prefill stands, for whoever places requests: of the DP group that will be through first; nothing is computed (None) while one is idle. Any thread.</summary>
    public PrefillStatus Prefill
    {
        get
        {
            PrefillLoad first = groups.MinBy(group => group.Prefill.Backlog)!.Prefill;
            PromptClass worked = Array.Exists(groups, group => group.Prefill.Class == PromptClass.None) ? PromptClass.None : first.Class;
            return new PrefillStatus(worked, first.Backlog + dispatcher.Backlog / groups.Length, 0, first.Cost);
        }
    }

    /// <summary>Share of the cache that its requests need, the reserve for expected output included; above 1 where they need more than there is. Any thread.</summary>
    public double ExpectedUsage => Math.Max((double)dispatcher.Expected / ((long)CacheBlocks * Options.BlockSize * groups.Length), groups.Average(group => group.Metrics.CacheUsage));

    /// <summary>How long the request has waited that has waited longest; zero if none waits. Any thread.</summary>
    public TimeSpan QueueTime
    {
        get
        {
            long oldest = dispatcher.WaitingSince;
            foreach (DpGroup group in groups)
                if (group.Prefill.WaitingSince is var since and > 0 && (oldest == 0 || since < oldest))
                    oldest = since;
            return oldest == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(oldest);
        }
    }

    /// <summary>Sums up which beginnings its caches hold. Any thread.</summary>
    public PrefixSummary SumUpPrefixes() => PrefixSummary.Of(groups.Select(group => group.Prefill.Prefixes));

    /// <summary>Counts changes of what <see cref="SumUpPrefixes"/> tells. Any thread.</summary>
    public long PrefixChanges => groups.Sum(group => group.Prefill.Prefixes.Changes);

    internal DpGroup Group => groups[0];

    internal IReadOnlyList<DpGroup> Groups => groups;

    /// <inheritdoc/>
    public Generation Submit(GenerationRequest request)
    {
        if (request.HandOverAfter is not null)
            throw new InvalidRequestException("The output of a request that goes on elsewhere needs a place that takes what is held; this engine's reader is none.", "hand_over_after");
        Submission? submission = null;
        Generation generation = new(request, _ => submission!.Abort());
        submission = Prepare(request, generation);
        dispatcher.Add(submission);
        return generation;
    }

    /// <summary>Takes a request in whose output goes elsewhere.</summary>
    /// <param name="request">The request.</param>
    /// <param name="output">Where its output goes.</param>
    /// <exception cref="InvalidRequestException">It can never be served as it is.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    public Submission Submit(GenerationRequest request, IOutput output)
    {
        Submission submission = Prepare(request, output);
        dispatcher.Add(submission);
        return submission;
    }

    /// <summary>Frees what a DP group holds for a request that goes on elsewhere, because nobody will come for it. Any thread.</summary>
    /// <param name="number">The DP group.</param>
    /// <param name="hold">The hold's number; one that is free already is passed over.</param>
    public void Free(int number, long hold)
    {
        DpGroup group = groups[number];
        group.Post(() => group.Holds.Free(hold));
    }

    /// <summary>Ends when every DP group has turned once: one that hangs leaves it open (paper §6.1).</summary>
    public Task PingAsync() => Task.WhenAll(groups.Select(group => group.Ping()));

    /// <inheritdoc/>
    public async Task<bool> DrainAsync(TimeSpan patience)
    {
        draining = true;
        Interlocked.MemoryBarrier(); // not seen by whoever takes a request: then the request is counted
        long start = Stopwatch.GetTimestamp();
        while (Unfinished > 0 && Stopwatch.GetElapsedTime(start) < patience)
            await Task.Delay(10).ConfigureAwait(false);
        return Unfinished == 0;
    }

    /// <inheritdoc/>
    public async Task<bool> ResetPrefixCacheAsync() =>
        (await Task.WhenAll(groups.Select(group => group.ResetPrefixCache())).ConfigureAwait(false)).All(reset => reset);

    /// <inheritdoc/>
    public void Dispose()
    {
        draining = true;
        dispatcher.Close();
        foreach (DpGroup group in groups)
            group.Dispose();
        pace?.Dispose();
    }

    private Submission Prepare(GenerationRequest request, IOutput output)
    {
        SamplingParameters sampling = request.Sampling;
        int maxNew = rules.Check(request);
        bool refused = draining;
        if (!refused)
        {
            // Counted, and then asked again: whoever drains the engine says so before looking at the count.
            int unfinished = Interlocked.Increment(ref queued);
            refused = draining || unfinished > Options.QueueLimit + Options.MaxSequences * groups.Length;
            if (refused)
                Interlocked.Decrement(ref queued);
        }
        if (refused)
        {
            Interlocked.Increment(ref rejections);
            throw new QueueFullException(Options.QueueLimit, TimeSpan.FromSeconds(1));
        }
        Submission submission = new(request, output, dispatcher.Abort, dispatcher.Withdraw, Ended);
        long number = Interlocked.Increment(ref submitted), now = Stopwatch.GetTimestamp();
        submission.Sequences = new Sequence[sampling.N];
        for (int choice = 0; choice < sampling.N; choice++)
        {
            OutputStage stage = new(output, sampling, tokenizer, model.Config.EosIds, choice, maxNew);
            stage.Replay(request.Produced);
            submission.Sequences[choice] = new Sequence(request, choice, maxNew, Options.BlockSize)
            {
                Leader = choice == 0 ? null : submission.Sequences[0],
                Submission = submission,
                Output = stage,
                ArrivedAt = now,
                Seed = request.Stream ?? StreamOf(sampling, Options.Seed, number, choice),
            };
        }
        groups[0].Metrics.Accept(request.Prompt.Length, sampling.MaxTokens, sampling.N);
        return submission;
    }

    private void Ended(Submission submission, bool whole)
    {
        Interlocked.Decrement(ref queued);
        dispatcher.End(submission, whole);
    }

    /// <summary>The random stream of a choice: equal for equal seeds, different for all others.</summary>
    /// <param name="sampling">How the request is sampled.</param>
    /// <param name="engineSeed">Names the streams of requests without a seed.</param>
    /// <param name="number">Number of the request, where it has no seed.</param>
    /// <param name="choice">0 to n - 1.</param>
    public static ulong StreamOf(SamplingParameters sampling, long engineSeed, long number, int choice)
    {
        ulong seed = sampling.Seed is { } given ? (ulong)given : (ulong)engineSeed * 0x9E3779B97F4A7C15UL + (ulong)number;
        return seed + (ulong)choice * 0xD1B54A32D192ED03UL;
    }
}
