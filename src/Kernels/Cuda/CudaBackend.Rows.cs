namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private readonly Kernel gatherTokens, embed, gatherRows, rmsNorm, add, rope, swiGlu, combine, writeCache, prepareHeads, copyRows, layerNorm, gelu, combineNorm;

    /// <inheritdoc/>
    public override void GatherTokens(Tensor ids, Tensor tokens, Tensor slots, Tensor positions) =>
        Launch(gatherTokens, new Grid(Up(ids.Rows, Threads)), Threads, new GatherTokensArguments(ids, tokens, slots, positions));

    /// <inheritdoc/>
    public override void Embed(Tensor output, Weight table, Tensor ids) =>
        Launch(embed, new Grid(ids.Rows), Threads, new EmbedArguments(output, ids, View(table), ((CudaWeight)table).Kind));

    /// <inheritdoc/>
    public override void GatherRows(Tensor output, Tensor input, Tensor rows) =>
        Launch(gatherRows, new Grid(rows.Rows), Threads, new GatherRowsArguments(output, input, rows));

    /// <inheritdoc/>
    public override void RmsNorm(Tensor output, Tensor input, Tensor gain, float epsilon) => Norm(new(output, input, default, gain, epsilon));

    /// <inheritdoc/>
    public override void AddRmsNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, float epsilon)
    {
        if (combining is not { } waiting || waiting.Output != delta || gain.Columns != residual.Columns || gain.Columns > MostNormed)
        {
            Settle();
            NormArguments norm = new(output, residual, delta, gain, epsilon);
            if (MayJoin(norm))
                norming = norm;
            else
                Norm(norm);
            return;
        }
        // The sum over experts goes straight into the stream.
        combining = null;
        (int parts, int threads) = driver.Architecture >= 90 ? (8, 256) : (1, 1024);
        Launch(combineNorm, new Grid(parts * residual.Rows), threads, new CombineNormArguments(output, residual, waiting.Rows, waiting.Gates, waiting.Shared, gain, epsilon));
    }

    /// <inheritdoc/>
    public override void Add(Tensor residual, Tensor delta) =>
        Launch(add, new Grid(residual.Rows), Threads, new AddArguments(residual, delta));

    /// <inheritdoc/>
    public override void Rope(Tensor values, Tensor positions, Tensor table, int headWidth, int start, bool interleaved) =>
        Launch(rope, new Grid(values.Rows), Threads, new RopeArguments(values, positions, table, headWidth, start, interleaved ? 1 : 0));

    /// <inheritdoc/>
    public override void Copy(Tensor output, Tensor input) =>
        Launch(copyRows, new Grid(output.Rows), Threads, new CopyArguments(output, input));

    /// <inheritdoc/>
    public override void LayerNorm(Tensor output, Tensor input, Tensor gain, Tensor bias, float epsilon) => AddLayerNorm(output, input, default, gain, bias, epsilon);

    /// <inheritdoc/>
    public override void AddLayerNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, Tensor bias, float epsilon) => Launch(
        layerNorm, new Grid(residual.Rows, residual.Columns / gain.Columns), NormThreads(gain), new LayerNormArguments(output, residual, delta, gain, bias, epsilon));

    /// <inheritdoc/>
    public override void Gelu(Tensor output, Tensor input, GeluForm form) =>
        Launch(gelu, new Grid(output.Rows, Up(output.Columns, 4 * Threads)), Threads, new GeluArguments(output, input, (int)form));

    /// <inheritdoc/>
    public override void SwiGlu(Tensor output, Tensor input) =>
        Launch(swiGlu, new Grid(output.Rows, Up(output.Columns, 4 * Threads)), Threads, new SwiGluArguments(output, input));

    /// <inheritdoc/>
    public override void CombineExperts(Tensor output, Tensor rows, Tensor gates, Tensor shared = default)
    {
        Settle();
        // Waits for what comes next: as a rule the norm behind the sum, which takes it in.
        combining = new CombineArguments(output, rows, gates, shared);
    }

    /// <inheritdoc/>
    public override void WriteCache(Tensor cache, Tensor rows, PagedBatch batch, int heads) =>
        Launch(writeCache, new Grid(batch.Tokens), Threads, new WriteCacheArguments(cache, rows, batch, heads, Brain(cache)));

    /// <inheritdoc/>
    public override void PrepareHeads(Tensor projected, HeadPreparation how, Tensor keys, Tensor values, PagedBatch batch)
    {
        // The kernel holds a head in registers and rotates all of it.
        if (how.Rope.Columns != how.Width || how.Width > 512 || how.QueryGain.IsEmpty != how.KeyGain.IsEmpty)
        {
            base.PrepareHeads(projected, how, keys, values, batch);
            return;
        }
        Settle();
        PrepareArguments heads = new(
            projected, how.QueryGain, how.KeyGain, how.Rope, keys, values, batch, how.Heads, how.CacheHeads, how.Width, Brain(keys), how.Epsilon);
        if (MayJoin(heads))
            preparing = heads;
        else
            Prepare(heads);
    }

    /// <inheritdoc/>
    public override void PrepareLatents(Tensor query, Tensor latent, LatentPreparation how, LatentShape shape, Tensor cache, PagedBatch batch)
    {
        Settle();
        // Waits for the attention that comes next, which takes it in.
        if (how.Rope.Columns == shape.Rope)
            latents = (query, latent, how, shape, cache, batch);
        else
            base.PrepareLatents(query, latent, how, shape, cache, batch);
    }

    private void Prepare(in PrepareArguments heads)
    {
        const int PerBlock = Threads / 32;
        Launch(prepareHeads, new Grid(heads.Batch.Tokens, Up(heads.Heads + 2L * heads.CacheHeads, PerBlock)), Threads, heads);
    }

    private void Norm(in NormArguments norm) =>
        Launch(rmsNorm, new Grid(norm.Residual.Rows, norm.Residual.Columns / norm.Gain.Columns), NormThreads(norm.Gain), norm);

    private static int NormThreads(Tensor gain) => gain.Columns <= 128 ? 32 : gain.Columns <= 1024 ? Threads : 1024;

    private static int Brain(Tensor cache) => cache.Type == ElementType.BF16 ? 1 : 0;

    private readonly record struct GatherTokensArguments(Tensor Ids, Tensor Tokens, Tensor Slots, Tensor Positions);

    private readonly record struct EmbedArguments(Tensor Output, Tensor Ids, WeightView Table, int Kind);

    private readonly record struct GatherRowsArguments(Tensor Output, Tensor Input, Tensor Rows);

    private readonly record struct NormArguments(Tensor Output, Tensor Residual, Tensor Delta, Tensor Gain, float Epsilon);

    private readonly record struct AddArguments(Tensor Residual, Tensor Delta);

    private readonly record struct RopeArguments(Tensor Values, Tensor Positions, Tensor Table, int HeadWidth, int Start, int Interleaved);

    private readonly record struct CopyArguments(Tensor Output, Tensor Input);

    private readonly record struct LayerNormArguments(Tensor Output, Tensor Residual, Tensor Delta, Tensor Gain, Tensor Bias, float Epsilon);

    private readonly record struct GeluArguments(Tensor Output, Tensor Input, int Form);

    private readonly record struct SwiGluArguments(Tensor Output, Tensor Input);

    private readonly record struct CombineArguments(Tensor Output, Tensor Rows, Tensor Gates, Tensor Shared);

    private readonly record struct CombineNormArguments(
        Tensor Output, Tensor Residual, Tensor Rows, Tensor Gates, Tensor Shared, Tensor Gain, float Epsilon);

    private readonly record struct WriteCacheArguments(Tensor Cache, Tensor Rows, PagedBatch Batch, int Heads, int Brain);

    private readonly record struct PrepareArguments(
        Tensor Projected, Tensor QueryGain, Tensor KeyGain, Tensor Table, Tensor Keys, Tensor Values, PagedBatch Batch,
        int Heads, int CacheHeads, int Width, int Brain, float Epsilon);
}
