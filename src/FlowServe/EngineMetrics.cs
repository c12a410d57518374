using System.Diagnostics;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe;

/// <summary>
/// What one DP group has done, with vLLM's names and buckets. Written by the group's thread, read by any.
/// </summary>
public sealed class EngineMetrics
{
    private static readonly double[] Latency = [.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
    private static readonly double[] Residency = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800];
    private readonly long[] outliers = new long[Enum.GetValues<StepCause>().Length];
    private readonly Dictionary<string, long> finished = new() { ["stop"] = 0, ["length"] = 0, ["abort"] = 0, ["error"] = 0 };

    /// <summary>Metrics of an engine that serves sequences of some length.</summary>
    public EngineMetrics(int maxModelLength)
    {
        double[] tokens = TokenBounds(maxModelLength);
        PromptLengths = new("request_prompt_tokens", "Number of prefill tokens processed.", tokens);
        GenerationLengths = new("request_generation_tokens", "Number of generation tokens processed.", tokens);
        MaxNew = new("request_params_max_tokens", "Histogram of the max_tokens request parameter.", tokens);
        MaxGeneration = new("request_max_num_generation_tokens", "Histogram of maximum number of requested generation tokens.", tokens);
    }

    /// <summary>Sequences that run.</summary>
    public int Running { get; internal set; }

    /// <summary>Sequences that wait.</summary>
    public int Waiting { get; internal set; }

    /// <summary>Requests that wait for a DP group with room; the first group counts them with its own.</summary>
    internal int Undispatched { get; set; }

    /// <summary>Sequences whose keys and values are on their way.</summary>
    public int Arriving { get; internal set; }

    /// <summary>Requests that went on elsewhere and whose cache is still held.</summary>
    public int Held { get; internal set; }

    /// <summary>(row, expert) pairs sent to experts on other ranks.</summary>
    public long DispatchedRows { get; internal set; }

    /// <summary>What ranks that share experts have done; null if this group has them all.</summary>
    public Balancing.MixtureMetrics? Mixture { get; internal init; }

    /// <summary>Requests that went on elsewhere.</summary>
    public long HandOvers { get; internal set; }

    /// <summary>Share of cache blocks in use, 0 to 1; cached ones that nobody uses do not count.</summary>
    public double CacheUsage { get; internal set; }

    /// <summary>Prompt tokens computed or found in the cache.</summary>
    public long PromptTokens { get; internal set; }

    /// <summary>Tokens generated.</summary>
    public long GenerationTokens { get; internal set; }

    /// <summary>Prompt tokens looked up in the prefix cache.</summary>
    public long PrefixQueries { get; internal set; }

    /// <summary>Prompt tokens found there.</summary>
    public long PrefixHits { get; internal set; }

    /// <summary>What the tiers behind the device's cache have done; null if there are none.</summary>
    public TierMetrics? Tiers { get; internal set; }

    /// <summary>Sequences that had to start over.</summary>
    public long Preemptions { get; internal set; }

    /// <summary>Proposed and accepted tokens; null without speculation.</summary>
    public SpeculationMetrics? Speculation { get; internal init; }

    /// <summary>Steps run.</summary>
    public long StepCount { get; internal set; }

    /// <summary>Running median of a step, in seconds.</summary>
    public double MedianStep { get; internal set; }

    /// <summary>Steps that were much longer than the median, by cause (paper §4.4).</summary>
    public long Outliers(StepCause cause) => Volatile.Read(ref outliers[(int)cause]);

    /// <summary>From arrival to the first token.</summary>
    public Histogram TimeToFirstToken { get; } = new("time_to_first_token_seconds", "Histogram of time to first token in seconds.",
        .001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560);

    /// <summary>Between two tokens of a sequence.</summary>
    public Histogram InterToken { get; } = new("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.",
        .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80);

    /// <summary>Mean time per token behind the first, by request.</summary>
    public Histogram TimePerToken { get; } = new("request_time_per_output_token_seconds", "Histogram of time per output token in seconds, per request.",
        .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80);

    /// <summary>From arrival to the end.</summary>
    public Histogram EndToEnd { get; } = new("e2e_request_latency_seconds", "Histogram of end to end request latency in seconds.", Latency);

    /// <summary>From arrival to the first step.</summary>
    public Histogram Queue { get; } = new("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", Latency);

    /// <summary>From the first step to the end.</summary>
    public Histogram Inference { get; } = new("request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", Latency);

    /// <summary>From the first step to the first token.</summary>
    public Histogram Prefill { get; } = new("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", Latency);

    /// <summary>From the first token to the end.</summary>
    public Histogram Decode { get; } = new("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", Latency);

    /// <summary>Prompt tokens of each request.</summary>
    public Histogram PromptLengths { get; }

    /// <summary>Generated tokens of each choice.</summary>
    public Histogram GenerationLengths { get; }

    /// <summary>max_tokens of each request.</summary>
    public Histogram MaxNew { get; }

    /// <summary>The longest of each request's choices.</summary>
    public Histogram MaxGeneration { get; }

    /// <summary>Choices of each request.</summary>
    public Histogram Choices { get; } = new("request_params_n", "Histogram of the n request parameter.", 1, 2, 5, 10, 20);

    /// <summary>Tokens of each step.</summary>
    public Histogram StepTokens { get; } = new("iteration_tokens_total", "Histogram of number of tokens per engine_step.",
        1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384);

    /// <summary>From taking a cache block to forgetting its content for other content.</summary>
    public Histogram BlockLifetime { get; } = new("kv_block_lifetime_seconds", "Histogram of KV cache block lifetime from allocation to eviction.", Residency);

    /// <summary>From a cache block's last use to forgetting its content.</summary>
    public Histogram BlockIdle { get; } = new("kv_block_idle_before_evict_seconds", "Histogram of idle time before KV cache block eviction.", Residency);

    /// <summary>Between two uses of a cache block.</summary>
    public Histogram BlockReuseGap { get; } = new("kv_block_reuse_gap_seconds", "Histogram of time gaps between consecutive KV cache block accesses.", Residency);

    /// <summary>All histograms.</summary>
    public IReadOnlyList<Histogram> Histograms =>
    [
        TimeToFirstToken, InterToken, TimePerToken, EndToEnd, Queue, Inference, Prefill, Decode,
        PromptLengths, GenerationLengths, MaxNew, MaxGeneration, Choices, StepTokens,
        BlockLifetime, BlockIdle, BlockReuseGap,
    ];

    /// <summary>Finished choices by reason: stop, length, abort, error.</summary>
    public IReadOnlyList<(string Reason, long Count)> Finished
    {
        get
        {
            lock (finished)
                return [.. finished.Select(pair => (pair.Key, pair.Value))];
        }
    }

    /// <summary>Counts a request on its way in. Any thread.</summary>
    internal void Accept(int prompt, int? maxNew, int choices)
    {
        lock (finished)
        {
            PromptLengths.Observe(prompt);
            Choices.Observe(choices);
            if (maxNew is { } most)
                MaxNew.Observe(most);
        }
    }

    /// <summary>Counts the time until a choice has tokens, the first or more. The group's thread.</summary>
    internal void Tokens(Sequence sequence, long now)
    {
        Submission output = sequence.Submission!;
        if (output.FirstTokenAt == 0)
        {
            output.FirstTokenAt = now;
            if (sequence.InitialLength == sequence.PromptLength)
            {
                TimeToFirstToken.Observe(Seconds(sequence.ArrivedAt, now));
                Prefill.Observe(Seconds(sequence.AdmittedAt, now));
            }
        }
        else if (output.LastTokenAt != now)
        {
            InterToken.Observe(Seconds(output.LastTokenAt, now));
        }
        output.LastTokenAt = now;
    }

    /// <summary>Counts the end of a choice, but for one that ends elsewhere.</summary>
    internal void Finish(Sequence sequence, string reason)
    {
        if (reason == "withdrawn")
            return;
        lock (finished)
            finished[reason]++;
        long now = Stopwatch.GetTimestamp();
        Submission output = sequence.Submission!;
        EndToEnd.Observe(Seconds(sequence.ArrivedAt, now));
        GenerationLengths.Observe(sequence.Published);
        if (Array.TrueForAll(output.Sequences, choice => choice.Finished))
            MaxGeneration.Observe(output.Sequences.Max(choice => choice.Published));
        if (sequence.AdmittedAt != 0)
            Inference.Observe(Seconds(sequence.AdmittedAt, now));
        if (output.FirstTokenAt != 0 && sequence.Published > 0)
        {
            Decode.Observe(Seconds(output.FirstTokenAt, now));
            if (sequence.Published > 1)
                TimePerToken.Observe(Seconds(output.FirstTokenAt, now) / (sequence.Published - 1));
        }
    }

    /// <summary>Counts a step that was much longer than others. The group's thread.</summary>
    internal void CountOutlier(StepCause cause) => Volatile.Write(ref outliers[(int)cause], outliers[(int)cause] + 1);

    internal static double Seconds(long from, long to) => (double)(to - from) / Stopwatch.Frequency;

    /// <summary>1, 2, 5, 10, 20, 50, … up to the longest sequence, as vLLM's token histograms have them.</summary>
    private static double[] TokenBounds(int most)
    {
        List<double> steps = [];
        for (double power = 1; power <= most; power *= 10)
            foreach (double step in new[] { power, 2 * power, 5 * power })
                if (step <= most)
                    steps.Add(step);
        return [.. steps];
    }
}
