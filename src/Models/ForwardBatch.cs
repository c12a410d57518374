using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>One step's input.</summary>
/// <param name="TokenIds">I32 <c>[tokens, 1]</c>.</param>
/// <param name="Paged">Where the rows belong.</param>
/// <param name="Embedded">Rows whose embeddings do not come from the token table; null for none.</param>
public readonly record struct ForwardBatch(Tensor TokenIds, PagedBatch Paged, IReadOnlyList<EmbeddedRows>? Embedded = null);

/// <summary>Neighbouring rows of a step whose embeddings are given: an image, or a part of one.</summary>
/// <param name="First">First row of the step.</param>
/// <param name="Values">F32 <c>[rows, hidden]</c>.</param>
public readonly record struct EmbeddedRows(int First, Tensor Values);
