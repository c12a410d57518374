using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe.Speculating;

/// <summary>
/// Drafts with a network. It first runs over the rows that the step has settled, so that it has seen all that the model has seen, and
/// then drafts token by token.
/// </summary>
internal abstract class DeviceDrafter : Speculation
{
    private readonly Backend backend;
    private readonly DraftBatch batch;
    private readonly Action pass;
    private Tensor tokenTable; // of the step that is drafted behind
    private Workspace? workspace;

    /// <summary>Takes memory.</summary>
    protected DeviceDrafter(int tokens, Backend backend, EngineOptions options, int mostRows, int vocabulary) : base(tokens)
    {
        (this.backend, pass) = (backend, Pass);
        batch = new DraftBatch(backend, options, mostRows, vocabulary);
    }

    /// <inheritdoc/>
    public override bool OnDevice => true;

    /// <inheritdoc/>
    public override void Draft(StepPlan plan, Tensor tokenTable, Workspace workspace)
    {
        Collect(plan);
        if (batch.Count == 0)
            return;
        batch.Upload();
        (this.tokenTable, this.workspace) = (tokenTable, workspace);
        for (int token = 0; token < Tokens; token++)
        {
            if (token > 0)
                batch.Chain();
            if (batch.Shape is { } shape)
                backend.Repeat(shape, pass);
            else
                Pass();
            if (batch.Drafting == 0)
                break;
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        batch.Dispose();
        base.Dispose();
    }

    /// <summary>Whether few shapes are better than few rows.</summary>
    protected bool FewShapes => backend.Records;

    /// <summary>Hears of each sequence of a step, before any rows are added.</summary>
    /// <param name="plan">The step.</param>
    /// <param name="place">The sequence's place in it.</param>
    /// <param name="settled">How many of its rows stand.</param>
    protected virtual void Follow(StepPlan plan, int place, int settled)
    {
    }

    /// <summary>Adds the rows of a sequence that the drafter must see.</summary>
    /// <param name="batch">Receives them.</param>
    /// <param name="plan">The step.</param>
    /// <param name="place">The sequence's place in it.</param>
    /// <param name="row">The sequence's first row in it.</param>
    /// <param name="settled">How many of its rows stand: all but rejected proposals.</param>
    protected abstract void Add(DraftBatch batch, StepPlan plan, int place, int row, int settled);

    /// <summary>Runs a pass.</summary>
    protected abstract void Forward(DraftBatch batch, Tensor ids, Workspace workspace);

    /// <summary>Logits of some rows of the pass.</summary>
    protected abstract void Score(Tensor logits, Tensor rows, Workspace workspace);

    private void Pass()
    {
        Forward(batch, batch.GatherIds(tokenTable), workspace!);
        if (batch.Drafting == 0)
            return;
        Score(batch.Logits.Take(batch.Drafting), batch.Last, workspace!);
        batch.Choose(tokenTable);
    }

    private void Collect(StepPlan plan)
    {
        int longest = 1;
        foreach (PlannedWork work in plan.Entries)
            longest = Math.Max(longest, work.Length + work.Next);
        batch.Clear(longest);
        int row = 0, sampled = 0;
        for (int place = 0; place < plan.Entries.Length; place++)
        {
            PlannedWork work = plan.Entries[place];
            int settled = work.Count;
            if (work.Samples)
                settled += plan.Results.Accepted[sampled++] - work.Drafts;
            Follow(plan, place, settled);
            // Who decodes and is not to draft goes without; prompts are always read, so that drafting can begin behind them.
            if (!work.Reads && (work.Next > 0 || !work.Decodes))
                Add(batch, plan, place, row, settled);
            row += work.Count;
        }
    }
}
