using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>Attention whose query heads share fewer key and value heads, with optional norms on queries and keys.</summary>
/// <param name="heads">Query heads.</param>
/// <param name="cacheHeads">Key and value heads; divides <paramref name="heads"/>.</param>
/// <param name="width">Columns of a head.</param>
/// <param name="project">Queries, keys and values, one behind the other: <c>[(heads + 2·cacheHeads)·width, hidden]</c>.</param>
/// <param name="projectBias">F32 <c>[1, (heads + 2·cacheHeads)·width]</c>; may be empty.</param>
/// <param name="outputWeight">Output projection <c>[hidden, heads·width]</c>.</param>
/// <param name="outputBias">F32 <c>[1, hidden]</c>; may be empty.</param>
/// <param name="queryGain">F32 <c>[1, width]</c>: norm of each query head; may be empty.</param>
/// <param name="keyGain">F32 <c>[1, width]</c>: norm of each key head; may be empty.</param>
/// <param name="epsilon">Of these norms.</param>
/// <param name="rope">Rotation table, as wide as a head or narrower (then the columns behind it stay as they are); empty for no rotation.</param>
/// <param name="window">Positions that a row sees; 0 for all before it.</param>
/// <param name="scale">Factor on the scores; null for 1/√width.</param>
public sealed class GroupedQueryAttention(
    int heads, int cacheHeads, int width, Weight project, Tensor projectBias, Weight outputWeight, Tensor outputBias,
    Tensor queryGain, Tensor keyGain, float epsilon, Tensor rope, int window = 0, float? scale = null) : AttentionUnit
{
    private readonly float scale = scale ?? (float)(1 / Math.Sqrt(width));

    /// <inheritdoc/>
    public override IReadOnlyList<CacheRow> CacheRows { get; } = [new CacheRow(cacheHeads, width), new CacheRow(cacheHeads, width)];

    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) =>
        Scratch.Size(tokens, (heads + (2L * cacheHeads)) * width) + Scratch.Size(tokens, (long)heads * width);

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, PagedBatch batch, KvCache cache, int layer, Scratch scratch)
    {
        Tensor projected = scratch.Take(input.Rows, (heads + (2 * cacheHeads)) * width);
        Tensor attended = scratch.Take(input.Rows, heads * width);
        backend.Linear(projected, input, project, projectBias);
        var how = new HeadPreparation(heads, cacheHeads, width, queryGain, keyGain, epsilon, rope);
        backend.PrepareHeads(projected, how, cache[layer, 0], cache[layer, 1], batch);
        backend.PagedAttention(
            attended, projected.Cut(0, heads * width), cache[layer, 0], cache[layer, 1], batch, heads, cacheHeads, scale, window);
        backend.Linear(output, attended, outputWeight, outputBias);
    }
}
