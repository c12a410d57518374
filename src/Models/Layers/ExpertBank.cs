using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>
/// The routed experts of a layer as the layer sees them: rows and choices go in, gate-weighted sums come out. They may be here
/// (<see cref="Experts"/>) or behind an exchange; between <see cref="Begin"/> and <see cref="End"/> something else may run.
/// </summary>
public abstract class ExpertBank
{
    /// <summary>Columns of the residual stream.</summary>
    public abstract int Hidden { get; }

    /// <summary>Whether the sums have the layer's shared experts in them, so that the layer needs none of its own.</summary>
    public virtual bool HasShared => false;

    /// <summary>Scratch that <see cref="Begin"/> and <see cref="End"/> take for this many rows.</summary>
    public abstract long BankBytes(int tokens, int topK);

    /// <summary>Hands rows to their experts. Several may be under way at once where the bank allows it; they end in order.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="input">F32 <c>[tokens, hidden]</c>, normed; may be without rows.</param>
    /// <param name="ids">I32 <c>[tokens, topK]</c>: logical experts.</param>
    /// <param name="gates">F32 <c>[tokens, topK]</c>.</param>
    /// <param name="scratch">Buffers; not rewound before the end.</param>
    /// <returns>What <see cref="End"/> is given.</returns>
    public abstract Tensor Begin(Backend backend, Tensor input, Tensor ids, Tensor gates, Scratch scratch);

    /// <summary>output[t] = Σ_k gates[t, k] · expert(ids[t, k])(input[t]) in order of k, plus shared[t] if given.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">F32 <c>[tokens, hidden]</c>.</param>
    /// <param name="begun">From the oldest <see cref="Begin"/> that has not ended.</param>
    /// <param name="gates">As there.</param>
    /// <param name="shared">F32 <c>[tokens, hidden]</c>; may be empty.</param>
    public abstract void End(Backend backend, Tensor output, Tensor begun, Tensor gates, Tensor shared);
}
