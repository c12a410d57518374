using XDeepServe.Kernels;
using XDeepServe.Models;

namespace XDeepServe.FlowServe;

/// <summary>Reads what <see cref="Readout"/> asks for out of a step's hidden states. The executor's thread alone.</summary>
internal sealed class ReadoutStage : IDisposable
{
    private readonly Model model;
    private readonly Backend backend;
    private readonly Arena arena;
    private readonly Tensor picked;        // F32 [sequences, hidden]
    private readonly Tensor scores;        // F32 [sequences, labels]; empty without a score head
    private readonly Tensor chosen;        // F32 [sequences, 2]
    private readonly Tensor rows, labels;  // I32 [sequences, 1]
    private readonly List<(int Row, Sequence Sequence)> ends = [];

    /// <summary>Takes memory for as many sequences.</summary>
    public ReadoutStage(Model model, Backend backend, int sequences)
    {
        (this.model, this.backend) = (model, backend);
        int heads = model.Config.Labels;
        arena = backend.CreateArena(
            Arena.BytesFor(ElementType.F32, sequences, model.Config.HiddenSize) + Arena.BytesFor(ElementType.F32, sequences, Math.Max(1, heads))
            + Arena.BytesFor(ElementType.F32, sequences, 2) + 2 * Arena.BytesFor(ElementType.I32, sequences, 1));
        picked = arena.Allocate(ElementType.F32, sequences, model.Config.HiddenSize);
        scores = arena.Allocate(ElementType.F32, sequences, Math.Max(1, heads));
        chosen = arena.Allocate(ElementType.F32, sequences, 2);
        (rows, labels) = (arena.Allocate(ElementType.I32, sequences, 1), arena.Allocate(ElementType.I32, sequences, 1));
    }

    /// <summary>Reads what the plan's sequences ask for into its results.</summary>
    /// <param name="plan">The step that has run.</param>
    /// <param name="workspace">Its hidden states.</param>
    /// <param name="logits">F32 <c>[sequences, vocabulary]</c>: room for logits.</param>
    public void Run(StepPlan plan, Workspace workspace, Tensor logits)
    {
        int row = 0;
        foreach (PlannedWork work in plan.Entries)
        {
            if (work.Sequence.Request.Readout is { } readout)
            {
                if (readout.IsMean)
                    AddRows(work, workspace.Hidden.Slice(row, work.Count));
                if (work.Reads)
                    ends.Add((row + work.Count - 1, work.Sequence));
            }
            row += work.Count;
        }
        Read(ends.FindAll(end => end.Sequence.Request.Readout!.IsHidden), plan, workspace, ReadHidden);
        Read(ends.FindAll(end => end.Sequence.Request.Readout is { IsHidden: false, LabelIds: null }), plan, workspace, (group, results) => ReadScores(group, results, workspace));
        Read(ends.FindAll(end => end.Sequence.Request.Readout!.LabelIds is not null), plan, workspace, (group, results) => ReadLabels(group, results, workspace, logits));
        ends.Clear();
    }

    /// <inheritdoc/>
    public void Dispose() => arena.Dispose();

    private void Read(
        List<(int Row, Sequence Sequence)> group, StepPlan plan, Workspace workspace, Action<List<(int Row, Sequence Sequence)>, StepResults> read)
    {
        if (group.Count == 0)
            return;
        backend.Upload<int>(rows.Take(group.Count), [.. group.Select(end => end.Row)]);
        backend.GatherRows(picked.Take(group.Count), workspace.Hidden, rows.Take(group.Count));
        read(group, plan.Results);
    }

    private void ReadHidden(List<(int Row, Sequence Sequence)> group, StepResults results)
    {
        float[] values = Download(picked.Take(group.Count));
        int width = model.Config.HiddenSize;
        for (int i = 0; i < group.Count; i++)
        {
            Sequence sequence = group[i].Sequence;
            float[] read = values.AsSpan(i * width, width).ToArray();
            if (sequence.HiddenSum is { } sum)
                read = [.. sum.Select(value => (float)(value / sequence.PromptLength))];
            results.Readouts.Add((sequence, read));
        }
    }

    private void ReadScores(List<(int Row, Sequence Sequence)> group, StepResults results, Workspace workspace)
    {
        Tensor output = scores.Take(group.Count);
        model.Scores(output, picked.Take(group.Count), workspace);
        float[] values = Download(output);
        for (int i = 0; i < group.Count; i++)
            results.Readouts.Add((group[i].Sequence, values.AsSpan(i * model.Config.Labels, model.Config.Labels).ToArray()));
    }

    private void ReadLabels(List<(int Row, Sequence Sequence)> group, StepResults results, Workspace workspace, Tensor logits)
    {
        Tensor output = logits.Take(group.Count);
        model.Logits(output, rows.Take(group.Count), workspace);
        float[][] read = [.. group.Select(end => new float[end.Sequence.Request.Readout!.LabelIds!.Count])];
        for (int place = 0; place < read.Max(values => values.Length); place++)
        {
            // Those with fewer labels are read again at their last one.
            int[] wanted = [.. group.Select(end => end.Sequence.Request.Readout!.LabelIds!).Select(ids => ids[Math.Min(place, ids.Count - 1)])];
            backend.Upload<int>(labels.Take(group.Count), wanted);
            backend.LogProbabilities(chosen.Take(group.Count), default, default, output, labels.Take(group.Count));
            float[] values = Download(chosen.Take(group.Count));
            for (int i = 0; i < group.Count; i++)
                if (place < read[i].Length)
                    read[i][place] = values[2 * i];
        }
        for (int i = 0; i < group.Count; i++)
            results.Readouts.Add((group[i].Sequence, read[i]));
    }

    private void AddRows(PlannedWork work, Tensor hidden)
    {
        float[] values = Download(hidden);
        if (work.Start == 0) // the first chunk, or the first again after a preemption
            work.Sequence.HiddenSum = new double[hidden.Columns];
        double[] sum = work.Sequence.HiddenSum!;
        for (int i = 0; i < values.Length; i++)
            sum[i % hidden.Columns] += values[i];
    }

    private float[] Download(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download<float>(tensor, values);
        return values;
    }
}
