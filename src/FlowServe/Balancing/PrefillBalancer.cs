namespace XDeepServe.FlowServe.Balancing;

/// <summary>Settings of <see cref="PrefillBalancer"/>.</summary>
/// <param name="StepTokens">Most tokens of a step.</param>
/// <param name="LongPrompt">Tokens to compute from which a prompt is long.</param>
/// <param name="StepsAhead">A group gets more as long as it has fewer full steps of work than this; the rest stays in the shared queue.</param>
public sealed record PrefillBalancerOptions(int StepTokens, int LongPrompt, double StepsAhead = 2);

/// <summary>
/// What the leader at DP 0 decides (paper §4.3): batches of requests for groups, so that the predicted finishing times are level
/// (longest processing time first, after prefix hits), and long and short prompts never in one group at the same time. Within a
/// group's batch the short ones go first. Pure; one thread.
/// </summary>
public sealed class PrefillBalancer(PrefillBalancerOptions options)
{
    private readonly List<(int Job, double Seconds)> window = [];
    private readonly List<(double Seconds, PrefillAssignment Assignment)> decided = [];
    private PromptClass[] classes = [];
    private double[] backlogs = [];
    private int[] rooms = [];

    /// <summary>Assigns what can begin soon.</summary>
    /// <param name="pending">The shared queue, first in turn first.</param>
    /// <param name="groups">[groups] the gathered status. A group without room gets nothing.</param>
    /// <param name="assignments">Receives the decisions; in the order in which each group is to take them.</param>
    public void Assign(IReadOnlyList<PrefillJob> pending, ReadOnlySpan<PrefillStatus> groups, List<PrefillAssignment> assignments)
    {
        assignments.Clear();
        decided.Clear();
        if (pending.Count == 0 || groups.Length == 0)
            return;
        if (classes.Length != groups.Length)
            (classes, backlogs, rooms) = (new PromptClass[groups.Length], new double[groups.Length], new int[groups.Length]);
        for (int group = 0; group < groups.Length; group++)
            (classes[group], backlogs[group], rooms[group]) = (groups[group].Class, groups[group].Backlog, groups[group].Room);
        Open(pending, groups);
        Close(pending, groups);
        Fill(PromptClass.Short, pending, groups);
        Fill(PromptClass.Long, pending, groups);
        decided.Sort((left, right) => (left.Seconds, left.Assignment.Job).CompareTo((right.Seconds, right.Assignment.Job)));
        foreach ((_, PrefillAssignment assignment) in decided)
            assignments.Add(assignment);
    }

    /// <summary>Whether a prompt is long, wherever its longest known beginning lies.</summary>
    public PromptClass ClassOf(PrefillJob job)
    {
        int hits = 0;
        foreach (int held in job.Hits)
            hits = Math.Max(hits, held);
        return job.Tokens - hits >= options.LongPrompt ? PromptClass.Long : PromptClass.Short;
    }

    private double Seconds(PrefillJob job, int group, ReadOnlySpan<PrefillStatus> groups) =>
        Math.Max(groups[group].Cost.Prompt(job.Tokens, job.Hits[group], options.StepTokens), double.Epsilon);

    /// <summary>Gives idle groups a class: in proportion to the work of both, and at least one group to each if there are two.</summary>
    private void Open(IReadOnlyList<PrefillJob> pending, ReadOnlySpan<PrefillStatus> groups)
    {
        int firstShort = First(pending, PromptClass.Short), firstLong = First(pending, PromptClass.Long);
        double shortWork = 0, longWork = 0;
        for (int job = 0; job < pending.Count; job++)
        {
            if (ClassOf(pending[job]) == PromptClass.Short)
                shortWork += Seconds(pending[job], 0, groups);
            else
                longWork += Seconds(pending[job], 0, groups);
        }
        (int shortGroups, int longGroups, int idle) = (0, 0, 0);
        for (int group = 0; group < groups.Length; group++)
        {
            shortGroups += classes[group] == PromptClass.Short ? 1 : 0;
            longGroups += classes[group] == PromptClass.Long ? 1 : 0;
            idle += classes[group] == PromptClass.None ? 1 : 0;
        }
        for (; idle > 0; idle--)
        {
            double perShort = firstShort < 0 ? -1 : shortWork / shortGroups, perLong = firstLong < 0 ? -1 : longWork / longGroups;
            bool takesShort = perShort == perLong ? firstShort < firstLong : perShort > perLong;
            int first = takesShort ? firstShort : firstLong, best = -1;
            for (int group = 0; group < groups.Length; group++)
                if (classes[group] == PromptClass.None && (best < 0 || pending[first].Hits[group] > pending[first].Hits[best]))
                    best = group;
            classes[best] = takesShort ? PromptClass.Short : PromptClass.Long;
            shortGroups += takesShort ? 1 : 0;
            longGroups += takesShort ? 0 : 1;
        }
    }

    /// <summary>Where a class has no group, lets one of the other run dry, once its turn has come: nobody waits for ever.</summary>
    private void Close(IReadOnlyList<PrefillJob> pending, ReadOnlySpan<PrefillStatus> groups)
    {
        int firstShort = First(pending, PromptClass.Short), firstLong = First(pending, PromptClass.Long);
        bool wantsShort = firstShort >= 0 && Array.IndexOf(classes, PromptClass.Short) < 0 && (firstLong < 0 || firstShort < firstLong);
        bool wantsLong = firstLong >= 0 && Array.IndexOf(classes, PromptClass.Long) < 0 && (firstShort < 0 || firstLong < firstShort);
        if (!wantsShort && !wantsLong)
            return;
        int least = 0;
        for (int group = 1; group < groups.Length; group++)
            if (backlogs[group] < backlogs[least])
                least = group;
        classes[least] = PromptClass.None;
    }

    private void Fill(PromptClass wanted, IReadOnlyList<PrefillJob> pending, ReadOnlySpan<PrefillStatus> groups)
    {
        double free = 0;
        int reference = -1, room = 0;
        for (int group = 0; group < groups.Length; group++)
        {
            if (classes[group] != wanted || rooms[group] < 1)
                continue;
            free += Math.Max(0, Horizon(groups[group]) - backlogs[group]);
            room += rooms[group];
            reference = reference < 0 ? group : reference;
        }
        window.Clear();
        for (int job = 0; job < pending.Count && free > 0 && window.Count < room; job++)
        {
            if (ClassOf(pending[job]) != wanted)
                continue;
            double seconds = Seconds(pending[job], reference, groups);
            window.Add((job, seconds));
            free -= seconds;
        }
        window.Sort((left, right) => (-left.Seconds, left.Job).CompareTo((-right.Seconds, right.Job)));
        foreach ((int job, _) in window)
        {
            int best = -1;
            double bestEnd = double.MaxValue;
            for (int group = 0; group < groups.Length; group++)
            {
                if (classes[group] != wanted || backlogs[group] >= Horizon(groups[group]) || rooms[group] < 1)
                    continue;
                double end = backlogs[group] + Seconds(pending[job], group, groups);
                if (end < bestEnd)
                    (best, bestEnd) = (group, end);
            }
            if (best < 0)
                return;
            decided.Add((bestEnd - backlogs[best], new PrefillAssignment(job, best)));
            backlogs[best] = bestEnd;
            rooms[best]--;
        }
    }

    private double Horizon(PrefillStatus status) =>
        options.StepsAhead * status.Cost.Seconds(options.StepTokens, PrefillCost.Pairs(0, options.StepTokens), options.StepTokens);

    private int First(IReadOnlyList<PrefillJob> pending, PromptClass wanted)
    {
        for (int job = 0; job < pending.Count; job++)
            if (ClassOf(pending[job]) == wanted)
                return job;
        return -1;
    }
}
