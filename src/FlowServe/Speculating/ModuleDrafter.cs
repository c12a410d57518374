using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Drafts with the model's module for multi-token prediction. At a position it takes the model's hidden state and the token behind,
/// and proposes the token after that; further tokens by using the module again on its own hidden state. Its keys and values are one
/// more layer of the model's cache.
/// </summary>
internal sealed class ModuleDrafter(int tokens, Model model, Backend backend, EngineOptions options, KvCache cache)
    : DeviceDrafter(tokens, backend, options, options.MaxBatchedTokens, model.Config.VocabularySize)
{
    /// <inheritdoc/>
    protected override void Add(DraftBatch batch, StepPlan plan, int place, int row, int settled)
    {
        PlannedWork work = plan.Entries[place];
        // Rejected rows do no harm (what they write is written again before it is read), but cost time.
        int rows = work.Decodes && FewShapes ? work.Count : settled;
        batch.Add(work.Sequence, plan.Slot(place), plan.Blocks(place), row, work.Start, rows, settled, ahead: 1, length: work.Next > 0 ? work.Start + settled + 1 : 0);
    }

    /// <inheritdoc/>
    protected override void Forward(DraftBatch batch, Tensor ids, Workspace workspace) =>
        model.Draft(batch.Rows, ids, batch.Paged, cache, workspace);

    /// <inheritdoc/>
    protected override void Score(Tensor logits, Tensor rows, Workspace workspace) => model.DraftLogits(logits, rows, workspace);
}
