using System.Collections.Concurrent;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>
/// The leader of a Task Executor that computes prompts (paper §4.3): all requests wait in one queue; while there are any, DP 0 gathers what the groups tell
/// (<see cref="PrefillLoad"/>) before each of its turns and assigns those that can begin soon (<see cref="PrefillBalancer"/>). Without requests
/// nothing is gathered. Nobody waits for a lock.
/// </summary>
internal sealed class PrefillLeader
{
    private const int Window = 128; // requests that are looked at in a turn: groups are given a few steps of work ahead
    private readonly IReadOnlyList<DpGroup> groups;
    private readonly PrefillBalancer balancer;
    private readonly Func<int, int> room;
    private readonly Func<Submission, int, bool> give;
    private readonly ConcurrentQueue<Submission> arrived = new();
    private readonly List<Submission> pending = []; // in order of priority, then arrival; from here on DP 0's thread
    private readonly List<PrefillJob> jobs = [];
    private readonly List<PrefillAssignment> assignments = [];
    private readonly PrefillStatus[] gathered;
    private readonly Underway[] underway;
    private readonly int stepTokens;
    private int waiting;
    private double backlog;
    private long since;
    private volatile bool closed;

    /// <summary>An empty queue.</summary>
    /// <param name="groups">The Task Executor's DP groups.</param>
    /// <param name="options">Settings of the engine.</param>
    /// <param name="room">Requests that a group can still take. Any thread.</param>
    /// <param name="give">Hands a request to a group; false if it has left meanwhile.</param>
    public PrefillLeader(IReadOnlyList<DpGroup> groups, EngineOptions options, Func<int, int> room, Func<Submission, int, bool> give)
    {
        (this.groups, this.room, this.give, stepTokens) = (groups, room, give, options.MaxBatchedTokens);
        balancer = new PrefillBalancer(new PrefillBalancerOptions(options.MaxBatchedTokens, options.LongPrompt));
        gathered = new PrefillStatus[groups.Count];
        underway = [.. groups.Select(_ => new Underway())];
    }

    /// <summary>Requests in the queue. Any thread.</summary>
    public int Waiting => Volatile.Read(ref waiting);

    /// <summary>Predicted seconds of work of one group to compute what is in the queue. Any thread.</summary>
    public double Backlog => Waiting == 0 ? 0 : Volatile.Read(ref backlog);

    /// <summary>When the request came that is at the front of the queue; 0 if there is none (<see cref="System.Diagnostics.Stopwatch"/>). Any thread.</summary>
    public long WaitingSince => Waiting == 0 ? 0 : Volatile.Read(ref since);

    /// <summary>Times that the groups' status was gathered.</summary>
    public long Gathers { get; private set; }

    /// <summary>Takes a request in. Any thread.</summary>
    public void Add(Submission submission)
    {
        Interlocked.Increment(ref waiting);
        arrived.Enqueue(submission);
        groups[0].Wake();
    }

    /// <summary>A group has room again. Any thread.</summary>
    public void Wake()
    {
        if (Waiting > 0 && !closed)
            groups[0].Wake();
    }

    /// <summary>A group is about to take a turn: the first leads, others see to it that it does. The group's thread.</summary>
    public void Turn(int group)
    {
        if (group > 0)
            Wake();
        else if (Waiting > 0)
            Lead();
    }

    /// <summary>Ends what waits. Any thread; done by DP 0's.</summary>
    public void Close() => groups[0].Post(() =>
    {
        closed = true;
        Take();
        foreach (Submission left in pending)
            if (left.TryClaim(0, given: false))
                groups[0].Abort(left);
        Forget();
    });

    private void Lead()
    {
        Take();
        Forget(); // those that left while they waited
        if (closed || pending.Count == 0)
            return;
        Gather();
        balancer.Assign(jobs, gathered, assignments);
        for (int i = 0; i < assignments.Count; i++)
        {
            (int job, int group) = (assignments[i].Job, assignments[i].Group);
            Submission submission = pending[job];
            submission.Class = balancer.ClassOf(jobs[job]);
            if (give(submission, group))
                underway[group].Add(Seconds(jobs[job], group), submission.Class);
        }
        Forget();
    }

    private void Take()
    {
        while (arrived.TryDequeue(out Submission? submission))
        {
            int place = pending.Count;
            while (place > 0 && pending[place - 1].Request.Priority > submission.Request.Priority)
                place--;
            pending.Insert(place, submission);
        }
    }

    private void Gather()
    {
        Gathers++;
        for (int group = 0; group < groups.Count; group++)
        {
            PrefillLoad load = groups[group].Prefill;
            Underway given = underway[group];
            given.Receive(load.Received); // first: the rest is never older
            PromptClass known = load.Class;
            gathered[group] = new PrefillStatus(known == PromptClass.None ? given.Class : known, load.Backlog + given.Seconds, room(group), load.Cost);
        }
        jobs.Clear();
        double seconds = 0;
        for (int i = 0; i < pending.Count && i < Window; i++)
        {
            Sequence first = pending[i].Sequences[0];
            int[] hits = pending[i].GroupHits ??= new int[groups.Count];
            for (int group = 0; group < hits.Length; group++)
                hits[group] = first.MaySharePrefix ? groups[group].Prefill.Prefixes.Held(pending[i].Chain) : 0;
            jobs.Add(new PrefillJob(first.InitialLength, hits));
            seconds += Seconds(jobs[i], 0);
        }
        Volatile.Write(ref backlog, seconds * pending.Count / jobs.Count);
    }

    private double Seconds(PrefillJob job, int group) => gathered[group].Cost.Prompt(job.Tokens, job.Hits[group], stepTokens);

    private void Forget()
    {
        Interlocked.Add(ref waiting, -pending.RemoveAll(static submission => submission.Group >= 0));
        Volatile.Write(ref since, pending.Count == 0 ? 0 : pending[0].Sequences[0].ArrivedAt);
    }

    /// <summary>What was given to a group and what it has not told of yet.</summary>
    private sealed class Underway
    {
        private readonly Queue<(double Seconds, PromptClass Class)> given = new();
        private long count; // given so far

        public double Seconds { get; private set; }

        public PromptClass Class => given.TryPeek(out (double, PromptClass Class) first) ? first.Class : PromptClass.None;

        public void Add(double seconds, PromptClass promptClass)
        {
            given.Enqueue((seconds, promptClass));
            count++;
            Seconds += seconds;
        }

        public void Receive(long received)
        {
            while (given.Count > count - received)
                Seconds -= given.Dequeue().Seconds;
            if (given.Count == 0)
                Seconds = 0; // no rest of rounding
        }
    }
}
