using System.Diagnostics;

namespace XDeepServe.FlowServe;

/// <summary>What made a step much longer than others.</summary>
public enum StepCause
{
    /// <summary>A garbage collection stopped the process.</summary>
    Collection,
    /// <summary>Keys and values were copied in or out meanwhile.</summary>
    Transfer,
    /// <summary>It computed again what a preempted sequence had lost.</summary>
    Preemption,
    /// <summary>It read a prompt.</summary>
    Prefill,
    /// <summary>Nothing that is known here: the operating system, other processes, the machine.</summary>
    Unknown,
}

/// <summary>
/// Looks for jitter (paper §4.4): a step longer than three times the running median is an outlier, and has a cause. A step's time
/// runs from the end of the one before it, or from its launch if there was none. Allocates nothing per step. The DP group's thread.
/// </summary>
internal sealed class StepClock(EngineMetrics metrics)
{
    private const int Window = 127, Fewest = 31;
    private const double Factor = 3;
    private readonly long[] recent = new long[Window];  // ticks, in order of time
    private readonly long[] sorted = new long[Window];
    private int count, oldest;
    private long lastEnd, lastCopied;
    private TimeSpan lastPause;

    /// <summary>Running median of a step's ticks; 0 before the first step.</summary>
    public long Median => count == 0 ? 0 : sorted[count / 2];

    /// <summary>Takes note of a step that has ended.</summary>
    /// <param name="plan">The step.</param>
    /// <param name="launchedAt">When it was handed to the executor.</param>
    /// <param name="follows">Whether another ran when it was.</param>
    public void Observe(StepPlan plan, long launchedAt, bool follows)
    {
        StepResults results = plan.Results;
        long from = follows ? lastEnd : launchedAt;
        long paused = follows ? (long)((results.PausedAtEnd - lastPause).TotalSeconds * Stopwatch.Frequency) : 0;
        Observe(results.EndedAt - from, paused, follows ? results.CopiedAtEnd - lastCopied : 0, Reads(plan));
        (lastEnd, lastPause, lastCopied) = (results.EndedAt, results.PausedAtEnd, results.CopiedAtEnd);
    }

    /// <summary>Takes note of a step.</summary>
    /// <param name="ticks">How long it took.</param>
    /// <param name="paused">Ticks for which collections stopped the process meanwhile.</param>
    /// <param name="copied">Ticks that went into copying keys and values meanwhile.</param>
    /// <param name="reads">What it did besides decoding: <see cref="StepCause.Prefill"/>, <see cref="StepCause.Preemption"/> or nothing (Unknown).</param>
    internal void Observe(long ticks, long paused, long copied, StepCause reads)
    {
        if (count >= Fewest && ticks > Factor * Median)
        {
            // What stopped the step is to blame if it would have been none of the long ones without that.
            metrics.CountOutlier(ticks - paused <= Factor * Median ? StepCause.Collection
                : ticks - copied <= Factor * Median ? StepCause.Transfer
                : reads != StepCause.Unknown ? reads
                : paused + copied == 0 ? StepCause.Unknown
                : paused > copied ? StepCause.Collection : StepCause.Transfer);
        }
        Enter(ticks);
        metrics.MedianStep = (double)Median / Stopwatch.Frequency;
    }

    private static StepCause Reads(StepPlan plan)
    {
        StepCause cause = StepCause.Unknown;
        foreach (PlannedWork work in plan.Entries)
        {
            if (work.Count - work.Drafts == 1)
                continue;
            if (work.Sequence.Preempted)
                return StepCause.Preemption;
            if (work.Start < work.Sequence.InitialLength)
                cause = StepCause.Prefill;
        }
        return cause;
    }

    private void Enter(long ticks)
    {
        int length = count;
        if (count == Window)
        {
            int gone = Array.BinarySearch(sorted, 0, count, recent[oldest]);
            Array.Copy(sorted, gone + 1, sorted, gone, count - gone - 1);
            length--;
        }
        else
        {
            count++;
        }
        int place = Array.BinarySearch(sorted, 0, length, ticks);
        place = place < 0 ? ~place : place;
        Array.Copy(sorted, place, sorted, place + 1, length - place);
        sorted[place] = ticks;
        recent[oldest] = ticks;
        oldest = (oldest + 1) % Window;
    }
}
