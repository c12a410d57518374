using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Drafts with a smaller model. It has a cache of its own, in the same blocks as the model's, so that whatever happens to those
/// (sharing, eviction, preemption) happens to it. What it has not seen (positions that were brought from elsewhere, or decoded while
/// nothing was proposed) it reads before it drafts, as much in a step as there is room for.
/// </summary>
internal sealed class ModelDrafter : DeviceDrafter
{
    private readonly Model model;
    private readonly KvCache cache;
    private readonly Workspace own;
    private readonly int blockSize, mostRows;
    private readonly int[] seen, next; // [slots]: positions that it has seen of a sequence; where the sequence's next step begins
    private readonly bool[] whole;     // [blocks]: it has seen all positions of the block
    private int spare;                 // rows that are free for what it has not seen

    /// <summary>Takes memory.</summary>
    /// <param name="tokens">Tokens proposed at once.</param>
    /// <param name="model">The smaller model; stays the caller's.</param>
    /// <param name="backend">Runs it; stays the caller's.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="blocks">Blocks of the large model's cache.</param>
    public ModelDrafter(int tokens, Model model, Backend backend, EngineOptions options, int blocks)
        : base(tokens, backend, options, options.MaxBatchedTokens + options.MaxSequences, model.Config.VocabularySize)
    {
        (this.model, blockSize, mostRows) = (model, options.BlockSize, options.MaxBatchedTokens + options.MaxSequences);
        (seen, next, whole) = (new int[options.MaxSequences], new int[options.MaxSequences], new bool[blocks]);
        cache = new KvCache(model.Cache, blocks, options.BlockSize, backend.CreateArena(KvCache.BytesPerBlock(model.Cache, options.BlockSize) * blocks + 4096L * model.Cache.Layers.Count));
        own = model.CreateWorkspace(mostRows, options.MaxSequences, backend);
    }

    /// <inheritdoc/>
    public override void Draft(StepPlan plan, Tensor tokenTable, Workspace workspace)
    {
        spare = mostRows - plan.Tokens - plan.Work.Count;
        base.Draft(plan, tokenTable, workspace);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        own.Dispose();
        cache.Dispose();
        base.Dispose();
    }

    /// <inheritdoc/>
    protected override void Add(DraftBatch batch, StepPlan plan, int place, int row, int settled)
    {
        PlannedWork work = plan.Entries[place];
        int length = work.Start + settled + 1; // the sampled token behind the settled rows included
        // While drafting it saw all accepted tokens but perhaps the last: that one again, and the sampled one.
        int first = work.Decodes ? Math.Max(0, length - 2) : work.Start;
        int end = work.Next > 0 ? length : length - 1, slot = plan.Slot(place), from = Math.Min(first, seen[slot]), missing = first - from;
        ReadOnlySpan<int> blocks = plan.Blocks(place);
        bool all = missing <= spare;
        if (!all)
            (missing, end) = (spare, from + spare);
        spare -= missing;
        if (end == from)
            return;
        bool drafts = all && work.Next > 0;
        batch.Add(work.Sequence, slot, blocks, row, from, end - from, end - from, ahead: 0, length: drafts ? length : 0);
        seen[slot] = drafts ? end + Tokens - 1 : end; // its own drafts but the last, of which those will count that stand
        for (int block = from / blockSize; (block + 1) * blockSize <= Math.Min(end, work.Start + settled); block++)
            whole[blocks[block]] = true;
    }

    /// <inheritdoc/>
    protected override void Follow(StepPlan plan, int place, int settled)
    {
        PlannedWork work = plan.Entries[place];
        int slot = plan.Slot(place), old = work.Start - work.Fetched;
        ReadOnlySpan<int> blocks = plan.Blocks(place);
        if (work.Admitted || work.Start != next[slot])
        {
            // A new sequence, or one that begins again: what the prefix cache holds was seen with the sequence that computed it, if at all.
            int block = 0;
            while ((block + 1) * blockSize <= old && whole[blocks[block]])
                block++;
            seen[slot] = block * blockSize;
        }
        next[slot] = work.Start + settled;
        seen[slot] = Math.Min(seen[slot], next[slot]);
        for (int block = (old + blockSize - 1) / blockSize; block * blockSize < work.Length; block++)
            whole[blocks[block]] = false;
    }

    /// <inheritdoc/>
    protected override void Forward(DraftBatch batch, Tensor ids, Workspace workspace) =>
        model.Forward(new ForwardBatch(ids, batch.Paged), cache, own);

    /// <inheritdoc/>
    protected override void Score(Tensor logits, Tensor rows, Workspace workspace) => model.Logits(logits, rows, own);
}
