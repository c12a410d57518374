using System.Runtime.InteropServices;

namespace XDeepServe.FlowServe;

/// <summary>What one sequence does in a step.</summary>
/// <param name="Sequence">The sequence.</param>
/// <param name="Start">First position computed.</param>
/// <param name="Count">Positions computed.</param>
/// <param name="Samples">Whether a token is sampled behind the last of them.</param>
/// <param name="Admitted">Whether the sequence's tokens must go to the device first.</param>
/// <param name="Reads">Whether something other than a token is read behind the last of them.</param>
public readonly record struct PlannedWork(Sequence Sequence, int Start, int Count, bool Samples, bool Admitted, bool Reads = false)
{
    /// <summary>Tokens before the sampled one: its index in the sequence.</summary>
    public int Length => Start + Count;
}

/// <summary>One step: counts from the scheduler, later the executor's results. Two plans are used in turn.</summary>
public sealed class StepPlan
{
    private readonly List<PlannedWork> work;
    private readonly List<int> slots;
    private readonly List<int> blocks; // of all sequences, one behind the other
    private readonly List<int> blockStarts;

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
    }

    /// <summary>Number of the step.</summary>
    public long Step { get; internal set; }

    /// <summary>The work, in order.</summary>
    public IReadOnlyList<PlannedWork> Work => work;

    /// <summary>Positions computed.</summary>
    public int Tokens { get; private set; }

    /// <summary>Tokens sampled.</summary>
    public int Samples { get; private set; }

    /// <summary>Whether a sequence of the step has a <see cref="Readout"/>.</summary>
    public bool HasReadouts { get; private set; }

    internal ReadOnlySpan<PlannedWork> Entries => CollectionsMarshal.AsSpan(work);

    internal StepResults Results { get; } = new();

    internal void Clear(long step)
    {
        work.Clear();
        slots.Clear();
        blocks.Clear();
        blockStarts.Clear();
        (Step, Tokens, Samples, HasReadouts) = (step, 0, 0, false);
    }

    // The sequence may change hands while the step runs, so its slot and blocks are written down.
    internal int Slot(int place) => slots[place];

    internal ReadOnlySpan<int> Blocks(int place)
    {
        int end = place + 1 < blockStarts.Count ? blockStarts[place + 1] : blocks.Count;
        return CollectionsMarshal.AsSpan(blocks)[blockStarts[place]..end];
    }

    internal void Add(PlannedWork entry)
    {
        work.Add(entry);
        slots.Add(entry.Sequence.Slot);
        blockStarts.Add(blocks.Count);
        blocks.AddRange(entry.Sequence.Blocks);
        Tokens += entry.Count;
        Samples += entry.Samples ? 1 : 0;
        HasReadouts |= entry.Sequence.Request.Readout is not null;
    }
}

/// <summary>What a step brought; filled by the executor.</summary>
internal sealed class StepResults
{
    /// <summary>[samples] sampled ids.</summary>
    public int[] Ids { get; set; } = [];

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

    /// <summary>What stopped the step, if anything did.</summary>
    public Exception? Failure { get; set; }
}
