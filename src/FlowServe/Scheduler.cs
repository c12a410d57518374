using XDeepServe.FlowServe.Speculating;

namespace XDeepServe.FlowServe;

/// <summary>
/// Decides what the next step computes: running sequences first (those that decode before those that read their prompt), then
/// waiting ones while tokens, sequences and blocks last. Works on counts, so that it can plan a step while the one before still
/// runs. A sequence that finds no block makes the newest one start over; if it is that itself, it waits first for those that are
/// arriving, whose blocks cannot be taken yet, and nobody is admitted meanwhile. Touches no tensor. One thread.
/// </summary>
public sealed class Scheduler
{
    private readonly EngineOptions options;
    private readonly TensorCache cache;
    private readonly List<Sequence> running = [];
    private readonly List<Sequence> waiting = [];   // in order of priority, then arrival
    private readonly List<Sequence> arriving = [];  // have blocks and slot; their keys and values are on their way
    private readonly Stack<int> slots = new();
    private long arrivals;

    /// <summary>An idle scheduler.</summary>
    public Scheduler(EngineOptions options, TensorCache cache)
    {
        this.options = options;
        this.cache = cache;
        for (int slot = options.MaxSequences - 1; slot >= 0; slot--)
            slots.Push(slot);
    }

    /// <summary>Sequences that hold cache blocks.</summary>
    public IReadOnlyList<Sequence> Running => running;

    /// <summary>Sequences that wait.</summary>
    public IReadOnlyList<Sequence> Waiting => waiting;

    /// <summary>Sequences that have blocks into which keys and values are being fetched.</summary>
    public IReadOnlyList<Sequence> Arriving => arriving;

    /// <summary>What can bring keys and values, in order of preference.</summary>
    internal List<IKvSupply> Supplies { get; } = [];

    /// <summary>Proposed tokens; null without speculation.</summary>
    internal Proposals? Proposals { get; init; }

    /// <summary>Times that a sequence had to start over.</summary>
    public long Preemptions { get; private set; }

    /// <summary>Takes a new sequence in.</summary>
    public void Add(Sequence sequence)
    {
        sequence.Arrival = arrivals++;
        Enqueue(sequence);
    }

    /// <summary>Takes a sequence out and frees all it holds. Does nothing for one that is gone already.</summary>
    public void Remove(Sequence sequence)
    {
        if (sequence.Finished)
            return;
        sequence.Finished = true;
        if (sequence.Supply is { } supply)
        {
            supply.Cancel(sequence); // until the fetch has ended its blocks may be written
            return;
        }
        if (!running.Remove(sequence) && waiting.Remove(sequence))
            foreach (IKvSupply each in Supplies)
                each.Drop(sequence);
        Free(sequence);
    }

    /// <summary>Takes what has arrived.</summary>
    /// <returns>Sequences that are still arriving.</returns>
    internal int Collect()
    {
        foreach (IKvSupply supply in Supplies)
        {
            while (supply.TryComplete(out Sequence sequence, out int computed))
            {
                arriving.Remove(sequence);
                sequence.Supply = null;
                if (sequence.Finished)
                {
                    Free(sequence);
                    continue;
                }
                sequence.Fetched = Math.Max(0, computed - sequence.Computed);
                sequence.Computed = Math.Max(sequence.Computed, computed);
                if (sequence.CachedTokens < 0)
                    sequence.CachedTokens = sequence.Computed;
                running.Add(sequence);
            }
        }
        return arriving.Count;
    }

    /// <summary>Plans a step.</summary>
    /// <param name="plan">Receives the work; empty if there is none.</param>
    /// <param name="step">Number of the step.</param>
    public void Plan(StepPlan plan, long step)
    {
        plan.Clear(step);
        Collect();
        int budget = options.MaxBatchedTokens;
        long preemptions = Preemptions;
        bool lacking = false;
        for (int pass = 0; pass < 2; pass++)
        {
            bool decoding = pass == 0;
            for (int i = 0; i < running.Count; i++)
            {
                Sequence sequence = running[i];
                if (sequence.Wanted == 0 || (sequence.Wanted == 1) != decoding || sequence.PlannedInStep == step)
                    continue;
                int count = Math.Min(sequence.Wanted, budget);
                if (count == 0 || (count < sequence.Wanted && !options.ChunkedPrefill))
                    continue;
                ReadOnlySpan<int> proposed = default;
                int drafts = decoding && Proposals is not null ? Proposals.For(sequence, budget, out proposed) : 0;
                bool room = TryMakeRoom(sequence, count + drafts + Next(sequence, count, drafts), step);
                i = running.IndexOf(sequence); // others may have left the list; if it has left itself, all are looked at again
                if (room)
                    budget -= Schedule(plan, sequence, count, drafts, proposed);
                else
                    lacking = true;
            }
        }
        if (!lacking && preemptions == Preemptions)
            Admit(plan, budget);
    }

    private void Admit(StepPlan plan, int budget)
    {
        for (int i = 0; i < waiting.Count && budget > 0 && running.Count + arriving.Count < options.MaxSequences;)
        {
            Sequence sequence = waiting[i];
            // Its prompt is on its way, or some that went back have kept the last slots: others need not wait for that.
            if (sequence.Leader is { PromptDone: false, Finished: false } || (sequence.Slot < 0 && slots.Count == 0))
            {
                i++;
                continue;
            }
            sequence.Computed = cache.Match(sequence);
            if (Offer(sequence, out int reach) is { } supply)
            {
                if (!HasRoom(reach - sequence.Computed) || !cache.TryExtend(sequence, reach))
                {
                    cache.Release(sequence);
                    return;
                }
                cache.Count(sequence);
                waiting.RemoveAt(i);
                TakeSlot(sequence);
                arriving.Add(sequence);
                sequence.Supply = supply;
                supply.Begin(sequence, sequence.Computed, reach);
                continue;
            }
            int wanted = sequence.Wanted, count = Math.Min(wanted, budget);
            bool fits = (count == wanted || options.ChunkedPrefill)
                && HasRoom(count + Next(sequence, count, 0))
                && cache.TryExtend(sequence, sequence.Computed + count + Next(sequence, count, 0));
            if (!fits)
            {
                cache.Release(sequence);
                return;
            }
            if (sequence.CachedTokens < 0)
                sequence.CachedTokens = sequence.Computed;
            cache.Count(sequence);
            waiting.RemoveAt(i);
            TakeSlot(sequence);
            running.Add(sequence);
            budget -= Schedule(plan, sequence, count);
        }
    }

    /// <summary>What can bring a sequence further than the device's cache does; null if nothing can.</summary>
    private IKvSupply? Offer(Sequence sequence, out int reach)
    {
        reach = 0;
        for (int i = 0; i < Supplies.Count; i++)
        {
            // At least one token is left to compute: something must be sampled from.
            reach = Math.Min(Supplies[i].Reach(sequence, sequence.Computed), sequence.Known.Length - 1);
            if (reach > sequence.Computed)
                return Supplies[i];
        }
        return null;
    }

    /// <summary>Whether there is room for more positions and one block in reserve for each sequence that runs, so that a newcomer is not sent back at once.</summary>
    private bool HasRoom(int more) =>
        running.Count + arriving.Count == 0 || cache.Pool.Available >= Blocks(more) + 1 + running.Count + arriving.Count;

    private void TakeSlot(Sequence sequence)
    {
        if (sequence.Slot < 0)
            sequence.Slot = slots.Pop();
    }

    private void Free(Sequence sequence)
    {
        cache.Release(sequence);
        if (sequence.Slot >= 0)
            slots.Push(sequence.Slot);
        sequence.Slot = -1;
    }

    /// <summary>Tokens to propose behind these rows of a sequence; they may need positions of their own.</summary>
    private int Next(Sequence sequence, int count, int drafts) =>
        Proposals?.Behind(sequence, sequence.Computed + count + drafts, Samples(sequence, count)) ?? 0;

    private static bool Samples(Sequence sequence, int count) => sequence.Computed + count == sequence.Length && sequence.Request.Readout is null;

    private int Schedule(StepPlan plan, Sequence sequence, int count, int drafts = 0, ReadOnlySpan<int> proposed = default)
    {
        bool samples = Samples(sequence, count), reads = !samples && sequence.Computed + count == sequence.Length;
        plan.Add(new PlannedWork(sequence, sequence.Computed, count + drafts, samples, Admitted: !sequence.OnDevice, reads, drafts, Next(sequence, count, drafts), sequence.Fetched), proposed);
        sequence.OnDevice = true;
        sequence.Fetched = 0;
        sequence.Drafted = 0;
        sequence.Computed += count + drafts;
        sequence.Length += samples ? 1 + drafts : 0; // at most: what is not accepted is taken back
        sequence.PlannedInStep = plan.Step;
        return count + drafts;
    }

    /// <summary>Gives a running sequence blocks for more positions; takes them from newer ones if it must.</summary>
    /// <returns>False if it has gone back itself, or must wait.</returns>
    private bool TryMakeRoom(Sequence sequence, int count, long step)
    {
        while (!cache.TryExtend(sequence, sequence.Computed + count))
        {
            Sequence? victim = null;
            foreach (Sequence candidate in running)
                if (candidate.PlannedInStep != step && candidate.BlockCount > 0
                    && (victim is null || (candidate.Request.Priority, candidate.Arrival).CompareTo((victim.Request.Priority, victim.Arrival)) > 0))
                    victim = candidate;
            // Those already in this plan keep what they have; without another victim the sequence itself goes back. While others are
            // arriving it waits instead: their blocks can be taken once they are here. Two that go back whenever the other one
            // arrives would do so for ever.
            victim ??= sequence;
            if (victim == sequence && arriving.Count > 0)
                return false;
            Preempt(victim);
            if (victim == sequence)
                return false;
        }
        return true;
    }

    private void Preempt(Sequence sequence)
    {
        running.Remove(sequence);
        cache.Release(sequence);
        sequence.Preempted = true;
        Preemptions++;
        Enqueue(sequence);
    }

    private void Enqueue(Sequence sequence)
    {
        int place = waiting.Count;
        while (place > 0 && (waiting[place - 1].Request.Priority, waiting[place - 1].Arrival).CompareTo((sequence.Request.Priority, sequence.Arrival)) > 0)
            place--;
        waiting.Insert(place, sequence);
    }

    private int Blocks(int positions) => (positions + options.BlockSize - 1) / options.BlockSize;
}
