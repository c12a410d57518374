using System.Collections.Concurrent;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>
/// Hands requests to the DP groups of a Task Executor (paper §4.3): once per request, to the group with the least cache in use or
/// expected to be when it has come, or, where prompts are all there is to do, as a <see cref="PrefillLeader"/> decides. Where all groups
/// are full, requests wait here in order of arrival. Any thread; nobody waits for a lock.
/// </summary>
internal sealed class Dispatcher
{
    private readonly IReadOnlyList<DpGroup> groups;
    private readonly int batchLimit;
    private readonly Load[] loads;
    private readonly ConcurrentQueue<Submission> waiting = new();
    private readonly OutputForecast forecast = new();
    private readonly PrefillLeader? leader;
    private volatile bool closed;

    /// <summary>Nothing to dispatch yet.</summary>
    public Dispatcher(IReadOnlyList<DpGroup> groups, EngineOptions options)
    {
        (this.groups, batchLimit) = (groups, options.MaxSequences);
        loads = [.. groups.Select(_ => new Load())];
        if (!options.LeadPrefill)
            return;
        leader = new PrefillLeader(groups, options, group => batchLimit - Volatile.Read(ref loads[group].Sequences), Give);
        foreach (DpGroup group in groups)
            group.Leader = leader;
    }

    /// <summary>When the request came that is at the front of the queue; 0 if there is none (<see cref="System.Diagnostics.Stopwatch"/>). Any thread.</summary>
    public long WaitingSince => leader is not null ? leader.WaitingSince : waiting.TryPeek(out Submission? first) ? first.Sequences[0].ArrivedAt : 0;

    /// <summary>Predicted seconds of work of one group to compute what the leader has not assigned yet. Any thread.</summary>
    public double Backlog => leader?.Backlog ?? 0;

    /// <summary>Cache positions that all requests will hold at their ends, as far as that can be told. Any thread.</summary>
    public long Expected => loads.Sum(load => Interlocked.Read(ref load.Expected));

    /// <summary>Takes a request in.</summary>
    public void Add(Submission submission)
    {
        Sequence first = submission.Sequences[0];
        submission.Expected = first.PromptLength + forecast.Expect(first.PromptLength, first.MaxNew);
        if (leader is not null)
        {
            leader.Add(submission);
            return;
        }
        if (groups.Count == 1)
        {
            Give(submission, 0); // its scheduler keeps the queue, in order of priority
            return;
        }
        waiting.Enqueue(submission);
        Pump();
    }

    /// <summary>Ends a request, wherever it is.</summary>
    public void Abort(Submission submission)
    {
        // One that no group has got yet is ended by the first.
        submission.TryClaim(0, given: false);
        groups[submission.Group].Abort(submission);
    }

    /// <summary>Ends a request that has not begun, wherever it is.</summary>
    public void Withdraw(Submission submission)
    {
        submission.TryClaim(0, given: false);
        groups[submission.Group].Withdraw(submission);
    }

    /// <summary>A request holds nothing any more. The thread of its group.</summary>
    /// <param name="submission">The request.</param>
    /// <param name="whole">Whether it came to its own end.</param>
    public void End(Submission submission, bool whole)
    {
        if (submission.Given)
            Count(loads[submission.Group], submission, -submission.Sequences.Length);
        if (whole)
            forecast.Observe(submission.Request.Prompt.Length, submission.Sequences[0].Published);
        Pump();
        leader?.Wake(); // it has looked for room already in this turn
    }

    /// <summary>Ends what waits for a group, and gives out nothing more.</summary>
    public void Close()
    {
        closed = true;
        leader?.Close();
        while (waiting.TryDequeue(out Submission? left))
            if (left.TryClaim(0, given: false))
                groups[0].Abort(left);
    }

    /// <summary>Gives waiting requests to groups that have room.</summary>
    private void Pump()
    {
        while (!closed && !waiting.IsEmpty)
        {
            int group = waiting.TryPeek(out Submission? first) ? Pick(first) : -1;
            if (group < 0)
                break;
            // Another thread may have taken the place, or the request, meanwhile.
            if (Interlocked.Increment(ref loads[group].Sequences) <= batchLimit && waiting.TryDequeue(out Submission? next))
                Give(next, group);
            Interlocked.Decrement(ref loads[group].Sequences);
        }
        groups[0].Metrics.Undispatched = waiting.Count;
    }

    private bool Give(Submission submission, int group)
    {
        Count(loads[group], submission, submission.Sequences.Length); // first: from then on it may be aborted, and end, before it has come there
        if (submission.TryClaim(group, given: true))
        {
            groups[group].Submit(submission);
            return true;
        }
        Count(loads[group], submission, -submission.Sequences.Length);
        return false; // left while it waited
    }

    private static void Count(Load load, Submission submission, int sequences)
    {
        Interlocked.Add(ref load.Sequences, sequences);
        Interlocked.Add(ref load.Expected, submission.Expected * sequences);
    }

    private int Pick(Submission submission)
    {
        Span<DecodeLoad> seen = stackalloc DecodeLoad[groups.Count];
        for (int group = 0; group < seen.Length; group++)
        {
            long used = groups[group].UsedPositions;
            // What requests are expected to hold at their ends, less what is held already.
            long reserved = Math.Max(0, Interlocked.Read(ref loads[group].Expected) - used);
            int active = groups[group].Metrics.Running, all = Volatile.Read(ref loads[group].Sequences);
            // A beginning that the group holds already needs no positions more.
            int held = submission.Sequences[0].MaySharePrefix ? groups[group].Prefill.Prefixes.Held(submission.Chain) : 0;
            seen[group] = new DecodeLoad(active, all - active, batchLimit, used, reserved - held);
        }
        return DecodeBalancer.Pick(seen);
    }

    private sealed class Load
    {
        public int Sequences;  // that were given to the group and have not ended
        public long Expected;  // cache positions that they will hold at their ends
    }
}
