using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>
/// What a DP group tells of its prefill: its row of the status all-gather (paper §4.3). The group's thread writes it at the end of a turn; any thread
/// reads it, without a lock, and may see some of two turns. Allocates nothing after its construction.
/// </summary>
/// <param name="options">Settings of the engine.</param>
/// <param name="prefixes">What the group's cache holds.</param>
internal sealed class PrefillLoad(EngineOptions options, PrefixSet prefixes)
{
    private double step, token, pair, backlog;
    private int promptClass;
    private long received, told, waitingSince;

    /// <summary>Learns what prefill costs here. The group's thread.</summary>
    public PrefillCostModel Model { get; } = new();

    /// <summary>What the group's cache holds.</summary>
    public PrefixSet Prefixes => prefixes;

    /// <summary>What prefill costs here.</summary>
    public PrefillCost Cost => Volatile.Read(ref step) == 0 && Volatile.Read(ref token) == 0
        ? PrefillCostModel.Prior
        : new PrefillCost(Volatile.Read(ref step), Volatile.Read(ref token), Volatile.Read(ref pair));

    /// <summary>Requests that the group had received when it last told; read before <see cref="Backlog"/> and <see cref="Class"/>, which are never older.</summary>
    public long Received => Volatile.Read(ref told);

    /// <summary>Predicted seconds until it has no prompt left to compute.</summary>
    public double Backlog => Volatile.Read(ref backlog);

    /// <summary>What it computes.</summary>
    public PromptClass Class => (PromptClass)Volatile.Read(ref promptClass);

    /// <summary>When the request came that has waited longest; 0 if none waits (<see cref="System.Diagnostics.Stopwatch"/>).</summary>
    public long WaitingSince => Volatile.Read(ref waitingSince);

    /// <summary>Takes note of a request that has come. The group's thread.</summary>
    public void Receive(Submission submission)
    {
        received++;
        Sequence first = submission.Sequences[0];
        submission.Hits = first.MaySharePrefix ? prefixes.Held(submission.Chain) : 0;
        if (submission.Class == PromptClass.None)
            submission.Class = first.InitialLength - submission.Hits >= options.LongPrompt ? PromptClass.Long : PromptClass.Short;
    }

    /// <summary>Tells how things stand. The group's thread.</summary>
    public void Tell(Scheduler scheduler)
    {
        PrefillCost cost = Model.Cost;
        (double seconds, PromptClass most) = (0, PromptClass.None);
        for (int i = 0; i < scheduler.Running.Count; i++)
            Add(scheduler.Running[i], scheduler.Running[i].Computed, cost, ref seconds, ref most);
        for (int i = 0; i < scheduler.Waiting.Count; i++)
            Add(scheduler.Waiting[i], scheduler.Waiting[i].Submission?.Hits ?? 0, cost, ref seconds, ref most);
        long since = 0;
        for (int i = 0; i < scheduler.Waiting.Count; i++)
            since = since == 0 ? scheduler.Waiting[i].ArrivedAt : Math.Min(since, scheduler.Waiting[i].ArrivedAt);
        Volatile.Write(ref waitingSince, since);
        Volatile.Write(ref step, cost.Step);
        Volatile.Write(ref token, cost.Token);
        Volatile.Write(ref pair, cost.Pair);
        Volatile.Write(ref backlog, seconds);
        Volatile.Write(ref promptClass, (int)most);
        Volatile.Write(ref told, received);
    }

    private void Add(Sequence sequence, int computed, PrefillCost cost, ref double seconds, ref PromptClass most)
    {
        // The last choices of a request find what the first computes; whoever has one token left decodes.
        if (sequence.Finished || sequence.Leader is { PromptDone: false } || sequence.PromptDone && sequence.Length - sequence.Computed <= 1)
            return;
        int left = sequence.Length - computed;
        if (left > 0)
            seconds += cost.Seconds(left, PrefillCost.Pairs(computed, left), options.MaxBatchedTokens);
        if (sequence.Submission?.Class > most)
            most = sequence.Submission.Class;
    }
}
