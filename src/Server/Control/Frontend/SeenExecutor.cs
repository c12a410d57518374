using System.Diagnostics;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Control.Frontend;

/// <summary>What is expected of a prompt at a Task Executor.</summary>
/// <param name="Seconds">Predicted seconds to compute it.</param>
/// <param name="Class">Whether that is much.</param>
internal readonly record struct PromptWork(double Seconds, PromptClass Class);

/// <summary>A Task Executor as this process sees it: as it reported, corrected by what this process has given it. Any thread.</summary>
internal sealed class SeenExecutor(ExecutorInfo info)
{
    private readonly Lock _gate = new(); // held for sums alone
    private readonly int[] _open = new int[3]; // [class] prompts of this process that it has not computed yet
    private ExecutorReport _report = new();
    private int _given;
    private double _promised, _outstanding;
    private long _givenTokens, _shunnedUntil;

    /// <summary>What it is.</summary>
    public ExecutorInfo Info { get; } = info;

    /// <summary>What its caches hold.</summary>
    public SeenPrefixes Prefixes { get; } = new();

    /// <summary>How it fared when last heard of.</summary>
    public ExecutorReport Report
    {
        get => Volatile.Read(ref _report);
        set
        {
            Volatile.Write(ref _report, value);
            Interlocked.Exchange(ref _givenTokens, 0); // it counts them itself now
            lock (_gate)
            {
                _promised = 0;
            }
        }
    }

    /// <summary>Tasks of this process that it has.</summary>
    public int Given => Volatile.Read(ref _given);

    /// <summary>When it was last picked (<see cref="Stopwatch"/>); kept by <see cref="ClusterView.Pick"/>.</summary>
    public long PickedAt { get; set; }

    /// <summary>Whether it could not be reached just now: it gets nothing until a moment has passed or it has gone.</summary>
    public bool Shunned => Stopwatch.GetTimestamp() < Interlocked.Read(ref _shunnedUntil);

    /// <summary>It could not be reached.</summary>
    public void Shun() => Interlocked.Exchange(ref _shunnedUntil, Stopwatch.GetTimestamp() + Stopwatch.Frequency);

    /// <summary>What is known of it for placing a prompt.</summary>
    /// <param name="chain">The prompt's names.</param>
    public ExecutorLoad Load(ReadOnlySpan<ulong> chain)
    {
        ExecutorReport report = Report;
        lock (_gate)
        {
            bool busy = _open[(int)PromptClass.Short] + _open[(int)PromptClass.Long] >= Info.Groups;
            return new ExecutorLoad
            {
                Requests = Math.Max(report.Requests, Given),
                RequestLimit = Info.RequestLimit,
                Answering = Info.Role == WorkerRole.Colocated ? (double)Math.Max(report.Requests, Given) / Info.Groups : 0,
                Class = report.Class != PromptClass.None || !busy ? report.Class : _open[(int)PromptClass.Long] > 0 ? PromptClass.Long : PromptClass.Short,
                Cost = report.Cost,
                StepTokens = Info.MaxBatchedTokens,
                // A report may have been written before it had what was given here.
                Backlog = Math.Max(report.Backlog + _promised / Info.Groups, _outstanding / Info.Groups),
                KvUsage = report.KvExpected + (double)Interlocked.Read(ref _givenTokens) / Math.Max(1, (long)Info.CacheBlocks * Info.BlockSize * Info.Groups),
                Held = Prefixes.Held(chain),
            };
        }
    }

    /// <summary>What a prompt would take here.</summary>
    /// <param name="tokens">Tokens of prompt and answer so far.</param>
    /// <param name="chain">The prompt's names.</param>
    public PromptWork Predict(int tokens, ReadOnlySpan<ulong> chain)
    {
        int held = Prefixes.Held(chain);
        return new PromptWork(Report.Cost.Prompt(tokens, held, Info.MaxBatchedTokens), tokens - held >= Info.LongPrompt ? PromptClass.Long : PromptClass.Short);
    }

    /// <summary>It was picked to compute a prompt.</summary>
    public void Promise(PromptWork work, ReadOnlySpan<ulong> chain)
    {
        lock (_gate)
        {
            _promised += work.Seconds;
        }
        Prefixes.Give(chain);
    }

    /// <summary>Gives it a task.</summary>
    /// <param name="tokens">Tokens of prompt and answer so far.</param>
    /// <param name="work">What it computes of them; class None for nothing.</param>
    public void Begin(int tokens, PromptWork work)
    {
        Interlocked.Increment(ref _given);
        Interlocked.Add(ref _givenTokens, tokens);
        lock (_gate)
        {
            _open[(int)work.Class]++;
            _outstanding += work.Seconds;
        }
    }

    /// <summary>It has computed the prompt.</summary>
    public void Computed(PromptWork work)
    {
        lock (_gate)
        {
            _open[(int)work.Class]--;
            _outstanding = _open[(int)PromptClass.Short] + _open[(int)PromptClass.Long] == 0 ? 0 : _outstanding - work.Seconds;
        }
    }

    /// <summary>The task has ended.</summary>
    public void End() => Interlocked.Decrement(ref _given);
}
