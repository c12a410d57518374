using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>The attention of one layer: mixes rows of a sequence through its part of the cache. Runs without the rest of its layer.</summary>
public abstract class AttentionUnit
{
    /// <summary>What the unit keeps of every position.</summary>
    public abstract IReadOnlyList<CacheRow> CacheRows { get; }

    /// <summary>Scratch that <see cref="Run"/> takes for this many rows.</summary>
    public abstract long ScratchBytes(int tokens);

    /// <summary>Writes the step's rows into the cache and attends.</summary>
    /// <param name="backend">Runs the operations.</param>
    /// <param name="output">F32 <c>[tokens, hidden]</c>: what is added to the residual stream.</param>
    /// <param name="input">F32 <c>[tokens, hidden]</c>, normed.</param>
    /// <param name="batch">Where the rows belong.</param>
    /// <param name="cache">The cache of all layers.</param>
    /// <param name="layer">The unit's layer in it.</param>
    /// <param name="scratch">Buffers; the caller rewinds.</param>
    public abstract void Run(Backend backend, Tensor output, Tensor input, PagedBatch batch, KvCache cache, int layer, Scratch scratch);
}
