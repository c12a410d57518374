namespace XDeepServe.FlowServe.Speculating;

/// <summary>What the scheduler knows of speculation: how many proposed tokens a sequence verifies, and how many are to be proposed next. Belongs to the DP group's thread.</summary>
internal sealed class Proposals
{
    private readonly Speculation speculation;
    private readonly int[] proposed;
    private long lastStep = -2, lastStepAt;

    /// <summary>Nothing proposed.</summary>
    public Proposals(Speculation speculation, int? limit)
    {
        this.speculation = speculation;
        Gate = new SpeculationGate(limit);
        proposed = new int[speculation.Tokens];
    }

    /// <summary>Decides whether steps propose.</summary>
    public SpeculationGate Gate { get; }

    /// <summary>Whether the step that is planned next proposes: then the tokens of the step before must be known.</summary>
    public bool Active { get; private set; }

    /// <summary>Decides for the next step.</summary>
    /// <param name="sequences">Sequences that run or are about to.</param>
    public void Begin(int sequences) => Active = sequences > 0 && Gate.Decide(sequences);

    /// <summary>Tells the gate what a step took, if it and the one before did nothing but decode.</summary>
    public void Observe(StepPlan plan, long now)
    {
        if (plan.Step == lastStep + 1 && plan.Samples - plan.Drafts == plan.Work.Count && plan.Tokens == plan.Samples)
        {
            int tokens = plan.Work.Count;
            for (int i = 0; i < plan.Work.Count && plan.Drafts > 0; i++)
                tokens += plan.Results.Accepted[i];
            Gate.Observe(plan.Work.Count, plan.Drafts > 0, tokens, EngineMetrics.Seconds(lastStepAt, now));
        }
        (lastStep, lastStepAt) = (plan.Step, now);
    }

    /// <summary>The proposals that a decoding sequence verifies.</summary>
    /// <param name="sequence">All its tokens are known.</param>
    /// <param name="budget">Most rows that it may have.</param>
    /// <param name="ids">The tokens; empty if a device drafted them.</param>
    /// <returns>How many.</returns>
    public int For(Sequence sequence, int budget, out ReadOnlySpan<int> ids)
    {
        ids = default;
        // The model itself adds one more token behind the accepted ones.
        int most = Math.Min(Math.Min(speculation.Tokens, budget - 1), sequence.Limit - sequence.Length - 1);
        if (!Active || most <= 0 || sequence.Known.Length != sequence.Length)
            return 0;
        if (speculation.OnDevice)
            return Math.Min(most, sequence.Drafted);
        if (!sequence.MaySpeculate)
            return 0;
        int count = speculation.Propose(sequence.Known, proposed.AsSpan(0, most));
        ids = proposed.AsSpan(0, count);
        return count;
    }

    /// <summary>How many tokens a device is to propose behind a step.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="length">Its positions behind the step.</param>
    /// <param name="samples">Whether it samples in the step.</param>
    public int Behind(Sequence sequence, int length, bool samples) =>
        Active && samples && speculation.OnDevice && sequence.MaySpeculate && length + speculation.Tokens < sequence.Limit ? speculation.Tokens : 0;
}
