using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe;

/// <summary>What one sequence does in a step.</summary>
/// <param name="Sequence">The sequence.</param>
/// <param name="Start">First position computed.</param>
/// <param name="Count">Positions computed.</param>
/// <param name="Samples">Whether a token is sampled behind the last of them.</param>
/// <param name="Admitted">Whether the sequence's tokens must go to the device first.</param>
/// <param name="Reads">Whether something other than a token is read behind the last of them.</param>
/// <param name="Drafts">How many of the positions, the last ones, hold proposed tokens: a token is sampled behind each, and before the first.</param>
/// <param name="Next">Tokens to propose behind this step.</param>
/// <param name="Fetched">Positions before the first computed that were brought from elsewhere since the sequence's last step, the last of them.</param>
public readonly record struct PlannedWork(
    Sequence Sequence, int Start, int Count, bool Samples, bool Admitted, bool Reads = false, int Drafts = 0, int Next = 0, int Fetched = 0)
{
    /// <summary>Tokens before the (last) sampled one, proposed ones included: its index in the sequence.</summary>
    public int Length => Start + Count;

    /// <summary>Whether all positions but proposed ones are one that was sampled in the step before, or as good as that.</summary>
    public bool Decodes => Samples && Count - Drafts == 1;
}

/// <summary>One step: counts from the scheduler, later the executor's results. Two plans are used in turn.</summary>
public sealed class StepPlan
{
    private readonly List<PlannedWork> work;
    private readonly List<int> slots;
    private readonly List<int> blocks; // of all sequences, one behind the other
    private readonly List<int> blockStarts;
    private readonly List<int> proposed; // by the host, of all sequences, one behind the other
    private readonly List<int> proposedStarts;

    /// <summary>An empty plan.</summary>
    /// <param name="maxSequences">Most sequences in a step.</param>
    /// <param name="maxBlocks">Most cache blocks of a sequence.</param>
    public StepPlan(int maxSequences, int maxBlocks)
    {
        // Room for the largest step from the start: lists that grow would allocate in the middle of serving.
        blocks = new List<int>(maxSequences * maxBlocks);
        blockStarts = new List<int>(maxSequences);
        work = new List<PlannedWork>(maxSequences);
        slots = new List<int>(maxSequences);
        proposedStarts = new List<int>(maxSequences);
        proposed = [];
    }

    /// <summary>Number of the step.</summary>
    public long Step { get; internal set; }

    /// <summary>The work, in order.</summary>
    public IReadOnlyList<PlannedWork> Work => work;

    /// <summary>Positions computed.</summary>
    public int Tokens { get; private set; }

    /// <summary>Tokens sampled.</summary>
    public int Samples { get; private set; }

    /// <summary>Proposed tokens that are verified.</summary>
    public int Drafts { get; private set; }

    /// <summary>Whether a sequence of the step has a <see cref="Readout"/>.</summary>
    public bool HasReadouts { get; private set; }

    /// <summary>Pairs of computed and attended positions.</summary>
    internal double Pairs
    {
        get
        {
            double pairs = 0;
            foreach (PlannedWork entry in Entries)
                pairs += PrefillCost.Pairs(entry.Start, entry.Count);
            return pairs;
        }
    }

    /// <summary>Whether every sequence computes one position and samples behind it, and nothing else is asked: its launch waits for nothing.</summary>
    internal bool OnlyDecodes
    {
        get
        {
            foreach (PlannedWork entry in Entries)
                if (!entry.Decodes || entry.Drafts > 0 || entry.Reads || entry.Sequence.Request.Sampling.Logprobs is not null)
                    return false;
            return !HasReadouts;
        }
    }

    internal ReadOnlySpan<PlannedWork> Entries => CollectionsMarshal.AsSpan(work);

    internal StepResults Results { get; } = new();

    internal void Clear(long step)
    {
        work.Clear();
        slots.Clear();
        blocks.Clear();
        blockStarts.Clear();
        proposed.Clear();
        proposedStarts.Clear();
        (Step, Tokens, Samples, Drafts, HasReadouts) = (step, 0, 0, 0, false);
    }

    // The sequence may change hands while the step runs, so its slot and blocks are written down.
    internal int Slot(int place) => slots[place];

    internal ReadOnlySpan<int> Blocks(int place)
    {
        int end = place + 1 < blockStarts.Count ? blockStarts[place + 1] : blocks.Count;
        return CollectionsMarshal.AsSpan(blocks)[blockStarts[place]..end];
    }

    /// <summary>Proposed tokens of a place that the host knows; none where a device drafted them.</summary>
    internal ReadOnlySpan<int> Proposed(int place)
    {
        int end = place + 1 < proposedStarts.Count ? proposedStarts[place + 1] : proposed.Count;
        return CollectionsMarshal.AsSpan(proposed)[proposedStarts[place]..end];
    }

    internal void Add(PlannedWork entry, ReadOnlySpan<int> proposals = default)
    {
        proposedStarts.Add(proposed.Count);
        proposed.AddRange(proposals);
        work.Add(entry);
        slots.Add(entry.Sequence.Slot);
        blockStarts.Add(blocks.Count);
        blocks.AddRange(entry.Sequence.Blocks);
        Tokens += entry.Count;
        Samples += entry.Samples ? 1 + entry.Drafts : 0;
        Drafts += entry.Drafts;
        HasReadouts |= entry.Sequence.Request.Readout is not null;
    }
}

/// <summary>What a step brought; filled by the executor.</summary>
internal sealed class StepResults
{
    /// <summary>[samples] sampled ids; a sequence with proposals has one for each, and one more.</summary>
    public int[] Ids { get; set; } = [];

    /// <summary>[sequences that sample] how many of their proposed tokens were accepted.</summary>
    public int[] Accepted { get; set; } = [];

    /// <summary>[samples, 2] log-probability and rank of the sampled ids, where some sequence asked.</summary>
    public float[] Chosen { get; set; } = [];

    /// <summary>k of the two below.</summary>
    public int TopCount { get; set; }

    /// <summary>[samples, k] best ids.</summary>
    public int[] TopIds { get; set; } = [];

    /// <summary>[samples, k] their log-probabilities.</summary>
    public float[] TopValues { get; set; } = [];

    /// <summary>Prompt log-probabilities computed by this step: sequence, position of the token, entry.</summary>
    public List<(Sequence Sequence, int Position, TokenLogprob Entry)> Prompt { get; } = [];

    /// <summary>What was read behind prompts.</summary>
    public List<(Sequence Sequence, float[] Values)> Readouts { get; } = [];

    /// <summary>How long the step took.</summary>
    public double Seconds { get; set; }

    /// <summary>Timestamp (<see cref="System.Diagnostics.Stopwatch"/>) of the executor.</summary>
    public long EndedAt { get; set; }

    /// <summary>Ticks that the executor has spent copying keys and values when the step ended, since its start.</summary>
    public long CopiedAtEnd { get; set; }

    /// <summary>How long garbage collections had stopped this process when the step ended, since its start.</summary>
    public TimeSpan PausedAtEnd { get; set; }

    /// <summary>What stopped the step, if anything did.</summary>
    public Exception? Failure { get; set; }
}
