using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>
/// Multi-head latent attention (DeepSeek): the cache holds one compressed latent per position, and behind it the rotated key
/// that all heads share.
/// </summary>
/// <param name="shape">Widths and score factor.</param>
/// <param name="queryRank">Width of the compressed query; 0 if queries are not compressed.</param>
/// <param name="interleaved">Whether rotation pairs neighbours.</param>
/// <param name="down">Compressed query (or the whole query), latent and shared key, one behind the other, from the hidden state.</param>
/// <param name="downBias">F32, one value per row of <paramref name="down"/>; may be empty.</param>
/// <param name="queryGain">F32 <c>[1, queryRank]</c>; empty if queries are not compressed.</param>
/// <param name="queryUp">Queries from the compressed query <c>[heads·(plain + rope), queryRank]</c>; null if not compressed.</param>
/// <param name="latentGain">F32 <c>[1, rank]</c>.</param>
/// <param name="expand">Keys and values of a head from the latent, head by head: <c>[heads·(plain + value), rank]</c>.</param>
/// <param name="outputWeight">Output projection <c>[hidden, heads·value]</c>.</param>
/// <param name="outputBias">F32 <c>[1, hidden]</c>; may be empty.</param>
/// <param name="epsilon">Of the norms.</param>
/// <param name="rope">Rotation table, as wide as the shared key.</param>
public sealed class LatentAttention(
    LatentShape shape, int queryRank, bool interleaved, Weight down, Tensor downBias, Tensor queryGain, Weight? queryUp,
    Tensor latentGain, Weight expand, Weight outputWeight, Tensor outputBias, float epsilon, Tensor rope) : AttentionUnit
{
    private readonly int queryColumns = shape.Heads * (shape.Plain + shape.Rope);
    private readonly int latentColumns = shape.Rank + shape.Rope;

    /// <inheritdoc/>
    public override IReadOnlyList<CacheRow> CacheRows { get; } = [new CacheRow(1, shape.Rank + shape.Rope)];

    /// <inheritdoc/>
    public override long ScratchBytes(int tokens) =>
        Scratch.Size(tokens, down.Rows) + Scratch.Size(tokens, shape.Heads * shape.Value)
        + (queryUp is null ? 0 : Scratch.Size(tokens, queryColumns));

    /// <inheritdoc/>
    public override void Run(Backend backend, Tensor output, Tensor input, PagedBatch batch, KvCache cache, int layer, Scratch scratch)
    {
        Tensor projected = scratch.Take(input.Rows, down.Rows);
        Tensor attended = scratch.Take(input.Rows, shape.Heads * shape.Value);
        backend.Linear(projected, input, down, downBias);

        Tensor query;
        if (queryUp is null)
        {
            query = projected.Cut(0, queryColumns);
        }
        else
        {
            Tensor compressed = projected.Cut(0, queryRank);
            query = scratch.Take(input.Rows, queryColumns);
            backend.RmsNorm(compressed, compressed, queryGain, epsilon);
            backend.Linear(query, compressed, queryUp);
        }
        Tensor latent = projected.Cut(down.Rows - latentColumns, latentColumns);
        backend.PrepareLatents(query, latent, new LatentPreparation(latentGain, epsilon, rope, interleaved), shape, cache[layer, 0], batch);
        backend.LatentAttention(attended, query, cache[layer, 0], expand, batch, shape);
        backend.Linear(output, attended, outputWeight, outputBias);
    }
}
