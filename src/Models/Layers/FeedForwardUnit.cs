using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>The feed-forward part of one layer: treats every row for itself. Runs without the rest of its layer.</summary>
public abstract class FeedForwardUnit
{
    /// <summary>Scratch that <see cref="Run"/> takes for this many rows.</summary>
    public abstract long ScratchBytes(int tokens);

    /// <summary>Computes what is added to the residual stream.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">F32 <c>[tokens, hidden]</c>.</param>
    /// <param name="input">F32 <c>[tokens, hidden]</c>, normed.</param>
    /// <param name="scratch">Buffers; the caller rewinds.</param>
    public abstract void Run(Backend backend, Tensor output, Tensor input, Scratch scratch);
}
