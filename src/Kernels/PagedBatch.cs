namespace XDeepServe.Kernels;

/// <summary>
/// Where the rows of a step belong: which sequence, which position, which cache blocks. All tensors are I32 in backend memory.
/// Rows of one sequence are neighbours and in order of position.
/// </summary>
/// <param name="Positions"><c>[tokens, 1]</c>: position of each row in its sequence.</param>
/// <param name="QueryStarts"><c>[sequences + 1, 1]</c>: first row of each sequence, then the number of rows.</param>
/// <param name="Contexts"><c>[sequences, 1]</c>: positions in the cache after this step, these rows included.</param>
/// <param name="Blocks"><c>[sequences, most blocks]</c>: cache block of each run of <paramref name="BlockSize"/> positions.</param>
/// <param name="BlockSize">Positions in a cache block.</param>
public readonly record struct PagedBatch(Tensor Positions, Tensor QueryStarts, Tensor Contexts, Tensor Blocks, int BlockSize)
{
    /// <summary>Rows in the step.</summary>
    public int Tokens => Positions.Rows;

    /// <summary>Sequences in the step.</summary>
    public int Sequences => Contexts.Rows;
}
