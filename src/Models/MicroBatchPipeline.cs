using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models;

/// <summary>
/// Two micro-batches of a step go through the layers in turn, so that one's attention is computed while the other's rows are with
/// experts elsewhere (paper §5.2). A row's result does not depend on its batch, so it is the same as in one.
/// </summary>
internal static class MicroBatchPipeline
{
    /// <summary>Runs all layers; hidden states behind the final norm stand in the workspace's normed rows.</summary>
    public static void Run(Backend backend, Layer[] layers, Norm final, MicroBatches halves, KvCache cache, Workspace workspace)
    {
        Half first = new(workspace, 0, halves.First, workspace.Scratch);
        Half second = new(workspace, halves.First.Tokens, halves.Second, workspace.SecondScratch);
        for (int i = 0; i < layers.Length; i++)
        {
            Begin(backend, layers, i, cache, ref first);
            Begin(backend, layers, i, cache, ref second);
        }
        End(backend, layers[^1].FeedForward, final, ref first);
        End(backend, layers[^1].FeedForward, final, ref second);
    }

    private static void Begin(Backend backend, Layer[] layers, int i, KvCache cache, ref Half half)
    {
        Layer layer = layers[i];
        if (i > 0)
            End(backend, layers[i - 1].FeedForward, layer.AttentionNorm, ref half);
        else if (half.Rows > 0)
            layer.AttentionNorm.Run(backend, half.Normed, half.Residual);
        half.Scratch.Rewind();
        if (half.Rows > 0)
        {
            layer.Attention.Run(backend, half.Delta, half.Normed, half.Batch, cache, i, half.Scratch);
            layer.FeedForwardNorm.AddAndRun(backend, half.Normed, half.Residual, half.Delta);
            half.Scratch.Rewind();
        }
        half.Begun = layer.FeedForward.Begin(backend, half.Delta, half.Normed, half.Scratch);
    }

    private static void End(Backend backend, FeedForwardUnit unit, Norm next, ref Half half)
    {
        unit.End(backend, half.Delta, half.Begun);
        if (half.Rows > 0)
            next.AddAndRun(backend, half.Normed, half.Residual, half.Delta);
    }

    private struct Half(Workspace workspace, int first, PagedBatch batch, Scratch scratch)
    {
        public readonly PagedBatch Batch = batch;
        public readonly Scratch Scratch = scratch;
        public readonly Tensor Residual = workspace.Residual.Slice(first, batch.Tokens);
        public readonly Tensor Normed = workspace.Normed.Slice(first, batch.Tokens);
        public readonly Tensor Delta = workspace.Delta.Slice(first, batch.Tokens);
        public BegunRows Begun;

        public readonly int Rows => Batch.Tokens;
    }
}
