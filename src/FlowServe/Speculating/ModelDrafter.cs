using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Drafts with a smaller model. It has a cache of its own, in the same blocks as the model's, so that whatever happens to those
/// (sharing, eviction, preemption) happens to it.
/// </summary>
internal sealed class ModelDrafter : DeviceDrafter
{
    private readonly Model model;
    private readonly KvCache cache;
    private readonly Workspace own;

    /// <summary>Takes memory.</summary>
    /// <param name="tokens">Tokens proposed at once.</param>
    /// <param name="model">The smaller model; stays the caller's.</param>
    /// <param name="backend">Runs it; stays the caller's.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="blocks">Blocks of the large model's cache.</param>
    public ModelDrafter(int tokens, Model model, Backend backend, EngineOptions options, int blocks)
        : base(tokens, backend, options, options.MaxBatchedTokens + options.MaxSequences, model.Config.VocabularySize)
    {
        this.model = model;
        cache = new KvCache(model.Cache, blocks, options.BlockSize, backend.CreateArena(KvCache.BytesPerBlock(model.Cache, options.BlockSize) * blocks + 4096L * model.Cache.Layers.Count));
        own = model.CreateWorkspace(options.MaxBatchedTokens + options.MaxSequences, options.MaxSequences, backend);
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
        int end = work.Next > 0 ? length : length - 1;
        batch.Add(work.Sequence, plan.Slot(place), plan.Blocks(place), row, first, end - first, end - first, ahead: 0, length: work.Next > 0 ? length : 0);
    }

    /// <inheritdoc/>
    protected override void Forward(DraftBatch batch, Tensor ids, Workspace workspace) =>
        model.Forward(new ForwardBatch(ids, batch.Paged), cache, own);

    /// <inheritdoc/>
    protected override void Score(Tensor logits, Tensor rows, Workspace workspace) => model.Logits(logits, rows, own);
}
