using XDeepServe.Kernels;

namespace XDeepServe.Models;

/// <summary>One step's input.</summary>
/// <param name="TokenIds">I32 <c>[tokens, 1]</c>.</param>
/// <param name="Paged">Where the rows belong.</param>
/// <param name="Embedded">Rows whose embeddings do not come from the token table; null for none.</param>
/// <param name="Halves">The rows once more as two micro-batches, run in turn; null to run them as one.</param>
public readonly record struct ForwardBatch(Tensor TokenIds, PagedBatch Paged, IReadOnlyList<EmbeddedRows>? Embedded = null, MicroBatches? Halves = null);

/// <summary>A step's rows as two micro-batches of whole sequences; the second's rows follow the first's, and either may be empty.</summary>
/// <param name="First">Where the first's rows belong; row numbers count from its own first.</param>
/// <param name="Second">Where the second's rows belong.</param>
public readonly record struct MicroBatches(PagedBatch First, PagedBatch Second);

/// <summary>Neighbouring rows of a step whose embeddings are given: an image, or a part of one.</summary>
/// <param name="First">First row of the step.</param>
/// <param name="Values">F32 <c>[rows, hidden]</c>.</param>
public readonly record struct EmbeddedRows(int First, Tensor Values);
