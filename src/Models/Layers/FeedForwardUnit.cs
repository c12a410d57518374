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

    /// <summary>The first half of <see cref="Run"/>: where rows travel, they are on their way when it returns, and something else may run.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">As in <see cref="Run"/>; written here or at the end.</param>
    /// <param name="input">As in <see cref="Run"/>; may be without rows where rows travel.</param>
    /// <param name="scratch">Buffers; not rewound before the end.</param>
    /// <returns>What <see cref="End"/> is given.</returns>
    public virtual BegunRows Begin(Backend backend, Tensor output, Tensor input, Scratch scratch)
    {
        if (input.Rows > 0)
            Run(backend, output, input, scratch);
        return default;
    }

    /// <summary>The second half: the output is there when it returns.</summary>
    public virtual void End(Backend backend, Tensor output, BegunRows begun)
    {
    }
}

/// <summary>Rows between the two halves of a feed-forward unit. The tensors are the unit's scratch.</summary>
/// <param name="Rows">What the bank of experts keeps.</param>
/// <param name="Gates">F32 <c>[tokens, topK]</c>.</param>
/// <param name="Shared">F32 <c>[tokens, hidden]</c>: of the shared experts; may be empty.</param>
public readonly record struct BegunRows(Tensor Rows, Tensor Gates, Tensor Shared);
