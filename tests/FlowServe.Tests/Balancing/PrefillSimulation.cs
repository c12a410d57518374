using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

/// <summary>A request of a simulation.</summary>
internal sealed record SimulatedPrompt(double At, int Tokens, int Family = -1);

/// <summary>How a simulation assigns requests to groups.</summary>
internal enum Assignment
{
    RoundRobin,
    ShortestQueue,
    Leader,
}

/// <summary>What a simulation found; times in simulated seconds.</summary>
internal sealed record SimulatedRun(double Makespan, double[] FirstTokens, int Mixed, int Computed)
{
    public double Mean => FirstTokens.Average();

    public double Percentile(double share) => FirstTokens.Order().ElementAt((int)(share * (FirstTokens.Length - 1)));
}

/// <summary>
/// DP groups that prefill in simulated time: each runs steps of bounded size, first come first served, in chunks, as the scheduler
/// does. Steps cost what <see cref="Truth"/> says; the leader knows only what its cost models learn from them.
/// </summary>
internal sealed class PrefillSimulation(int groups, int stepTokens, int longPrompt)
{
    private readonly Group[] groups = [.. Enumerable.Range(0, groups).Select(_ => new Group())];
    private readonly PrefillBalancer balancer = new(new PrefillBalancerOptions(stepTokens, longPrompt));
    private readonly List<PrefillAssignment> assignments = [];
    private readonly List<Work> pending = [];
    private double now;
    private int mixed, next;

    public static PrefillCost Truth => new(2e-3, 4e-5, 6e-9);

    public SimulatedRun Run(IReadOnlyList<SimulatedPrompt> prompts, Assignment how)
    {
        Work[] all = [.. prompts.Select(prompt => new Work(prompt))];
        int arrived = 0;
        while (Array.Exists(all, work => work.Left > 0))
        {
            double arrival = arrived < all.Length ? all[arrived].Prompt.At : double.MaxValue;
            Group? first = groups.Where(group => group.Step.Count > 0).MinBy(group => group.StepEnd);
            if (first is null && arrival == double.MaxValue)
                throw new InvalidOperationException($"{pending.Count} requests are left, but no group works: the balancer starves them.");
            if (first is not null && first.StepEnd <= arrival)
                End(first);
            else
                Arrive(all[arrived++], how);
            if (how == Assignment.Leader)
                Lead();
            foreach (Group group in groups)
                Begin(group);
        }
        return new SimulatedRun(now, [.. all.Select(work => work.FirstToken - work.Prompt.At)], mixed, all.Sum(work => work.Computed));
    }

    private void Arrive(Work work, Assignment how)
    {
        now = work.Prompt.At;
        if (how == Assignment.Leader)
            pending.Add(work);
        else
            Give(work, how == Assignment.RoundRobin ? groups[next++ % groups.Length] : groups.MinBy(group => Backlog(group, Truth))!);
    }

    private void Lead()
    {
        PrefillJob[] jobs = [.. pending.Select(work => new PrefillJob(work.Prompt.Tokens, [.. groups.Select(group => Hits(group, work))]))];
        PrefillStatus[] status = [.. groups.Select(group => new PrefillStatus(
            group.Queue.Count == 0 ? PromptClass.None : group.Queue[0].Class, Backlog(group, group.Model.Cost), 64 - group.Queue.Count, group.Model.Cost))];
        balancer.Assign(jobs, status, assignments);
        Work[] given = [.. assignments.Select(assignment => pending[assignment.Job])];
        for (int i = 0; i < given.Length; i++)
        {
            given[i].Class = balancer.ClassOf(jobs[assignments[i].Job]);
            Give(given[i], groups[assignments[i].Group]);
        }
        pending.RemoveAll(work => Array.IndexOf(given, work) >= 0);
    }

    private void Give(Work work, Group group)
    {
        work.Left = work.Prompt.Tokens - Math.Min(Hits(group, work), work.Prompt.Tokens - 1);
        work.Computed = work.Left;
        if (work.Class == PromptClass.None)
            work.Class = work.Left >= longPrompt ? PromptClass.Long : PromptClass.Short;
        mixed += group.Queue.Exists(other => other.Class != work.Class) ? 1 : 0;
        group.Queue.Add(work);
    }

    private static int Hits(Group group, Work work) => group.Families.Contains(work.Prompt.Family) ? work.Prompt.Tokens / 2 : 0;

    private double Backlog(Group group, PrefillCost cost) => group.Queue.Sum(work => work.Left == 0
        ? 0 : cost.Seconds(work.Left, PrefillCost.Pairs(work.Prompt.Tokens - work.Left, work.Left), stepTokens));

    private void Begin(Group group)
    {
        if (group.Step.Count > 0)
            return;
        int budget = stepTokens, tokens = 0;
        double pairs = 0;
        foreach (Work work in group.Queue)
        {
            int count = Math.Min(work.Left, budget);
            if (count == 0)
                break;
            budget -= count;
            tokens += count;
            pairs += PrefillCost.Pairs(work.Prompt.Tokens - work.Left, count);
            group.Step.Add((work, count));
        }
        if (tokens == 0)
            return;
        double seconds = Truth.Step + Truth.Token * tokens + Truth.Pair * pairs;
        group.StepEnd = now + seconds;
        group.Learn = () => group.Model.Observe(tokens, pairs, seconds);
    }

    private void End(Group group)
    {
        now = group.StepEnd;
        group.Learn!();
        foreach ((Work work, int count) in group.Step)
        {
            work.Left -= count;
            if (work.Left > 0)
                continue;
            work.FirstToken = now;
            group.Families.Add(work.Prompt.Family);
            group.Queue.Remove(work);
        }
        group.Step.Clear();
        group.Families.Remove(-1);
    }

    private sealed class Work(SimulatedPrompt prompt)
    {
        public SimulatedPrompt Prompt => prompt;

        public int Left { get; set; } = prompt.Tokens;

        public int Computed { get; set; }

        public double FirstToken { get; set; }

        public PromptClass Class { get; set; }
    }

    private sealed class Group
    {
        public List<Work> Queue { get; } = [];

        public List<(Work Work, int Count)> Step { get; } = [];

        public HashSet<int> Families { get; } = [];

        public PrefillCostModel Model { get; } = new();

        public double StepEnd { get; set; }

        public Action? Learn { get; set; }
    }
}
