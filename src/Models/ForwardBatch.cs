using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>One step's input.</summary>
/// <param name="TokenIds">I32 <c>[tokens, 1]</c>.</param>
/// <param name="Paged">Where the rows belong.</param>
public readonly record struct ForwardBatch(Tensor TokenIds, PagedBatch Paged);
