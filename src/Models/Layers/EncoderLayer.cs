using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>One layer of a vision transformer: norm, attention over all rows of an item, norm, feed-forward.</summary>
/// <param name="attentionNorm">Norm before attention.</param>
/// <param name="project">Queries, keys and values, one behind the other: <c>[3·hidden, hidden]</c>.</param>
/// <param name="projectBias">F32 <c>[1, 3·hidden]</c>.</param>
/// <param name="outputWeight">Output projection <c>[hidden, hidden]</c>.</param>
/// <param name="outputBias">F32 <c>[1, hidden]</c>.</param>
/// <param name="feedForwardNorm">Norm before the feed-forward unit.</param>
/// <param name="feedForward">Feed-forward unit.</param>
/// <param name="heads">Heads.</param>
public sealed class EncoderLayer(
    Norm attentionNorm, Weight project, Tensor projectBias, Weight outputWeight, Tensor outputBias, Norm feedForwardNorm, FeedForwardUnit feedForward, int heads)
{
    private readonly int hidden = outputWeight.Rows;

    /// <summary>Scratch that <see cref="Run"/> takes for this many rows.</summary>
    public long ScratchBytes(int rows) =>
        Math.Max(Scratch.Size(rows, 3L * hidden) + Scratch.Size(rows, hidden), feedForward.ScratchBytes(rows)) + (2 * Scratch.Size(rows, hidden));

    /// <summary>Adds the layer's outputs to the residual stream.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="residual">F32 <c>[items·span, hidden]</c>.</param>
    /// <param name="span">Rows of an item.</param>
    /// <param name="scratch">Buffers; rewound here.</param>
    public void Run(Backend backend, Tensor residual, int span, Scratch scratch)
    {
        scratch.Rewind();
        Tensor normed = scratch.Take(residual.Rows, hidden);
        Tensor delta = scratch.Take(residual.Rows, hidden);
        attentionNorm.Run(backend, normed, residual);
        Tensor projected = scratch.Take(residual.Rows, 3 * hidden);
        Tensor attended = scratch.Take(residual.Rows, hidden);
        backend.Linear(projected, normed, project, projectBias);
        backend.BidirectionalAttention(
            attended, projected.Cut(0, hidden), projected.Cut(hidden, hidden), projected.Cut(2 * hidden, hidden), span, heads,
            (float)(1 / Math.Sqrt(hidden / heads)));
        backend.Linear(delta, attended, outputWeight, outputBias);
        feedForwardNorm.AddAndRun(backend, normed, residual, delta);

        scratch.Rewind();
        normed = scratch.Take(residual.Rows, hidden);
        delta = scratch.Take(residual.Rows, hidden);
        feedForward.Run(backend, delta, normed, scratch);
        backend.Add(residual, delta);
    }
}
