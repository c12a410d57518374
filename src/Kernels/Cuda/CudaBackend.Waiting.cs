namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// Operations that wait for what comes next, because one kernel does both: a sum over experts and the norm behind it; a norm, the
/// router and the choice of experts; preparing heads or latents and attention; both products of experts. At most one such chain waits; any other launch sends it off first.
/// </summary>
public sealed unsafe partial class CudaBackend
{
    private const int MostNormed = 8192, MostStepBytes = 160 << 10;
    private CombineArguments? combining;
    private NormArguments? norming;
    private SinglesArguments? routing; // of the norm that waits
    private PrepareArguments? preparing;
    private (Tensor Query, Tensor Latent, LatentPreparation How, LatentShape Shape, Tensor Cache, PagedBatch Batch)? latents;
    private GatingArguments? gating; // experts' gates and ups of many tokens

    /// <summary>Launches what waits.</summary>
    private void Settle()
    {
        (CombineArguments? sum, NormArguments? norm, SinglesArguments? router) = (combining, norming, routing);
        (PrepareArguments? heads, GatingArguments? gates) = (preparing, gating);
        var prepared = latents;
        (combining, norming, routing, preparing, gating, latents) = (null, null, null, null, null, null);
        if (sum is { } waiting)
            Launch(combine, new Grid(waiting.Output.Rows, Up(waiting.Output.Columns, Threads)), Threads, waiting);
        if (norm is { } first)
            Norm(first);
        if (router is { } second)
            Singles(second);
        if (heads is { } projected)
            Prepare(projected);
        if (prepared is { } rows)
            base.PrepareLatents(rows.Query, rows.Latent, rows.How, rows.Shape, rows.Cache, rows.Batch);
        if (gates is { } product)
            base.GroupedSwiGlu(product.Output, product.Both, product.Input, product.Weight, product.Ids);
    }

    private bool Waits => combining is not null || norming is not null || preparing is not null || gating is not null || latents is not null;

    /// <summary>Whether a norm behind attention may be joined by the router and the choice.</summary>
    private bool MayJoin(in NormArguments norm) =>
        driver.Architecture >= 90 && driver.SharedBytes >= MostStepBytes && norm.Residual.Rows <= FewTokens && norm.Gain.Columns == norm.Residual.Columns && norm.Gain.Columns % 4 == 0
        && norm.Gain.Columns <= MostNormed && Vectors(norm.Output) + Vectors(norm.Residual) + Vectors(norm.Delta) + Vectors(norm.Gain) == 4;

    /// <summary>Whether the heads may be prepared by the attention kernel itself: a row for each sequence, halves rotated over the whole head.</summary>
    private static bool MayJoin(in PrepareArguments heads) =>
        heads.Width is 64 or 128 && heads.Brain == 1 && heads.Batch.Tokens == heads.Batch.Sequences && heads.Heads / heads.CacheHeads <= 16 && Vectors(heads.Projected) + Vectors(heads.Table) == 2;

    /// <summary>The preparation that waits for this attention; empty if none does.</summary>
    private PrepareArguments Prepared(Tensor query, Tensor keys, Tensor values, PagedBatch batch)
    {
        if (preparing is not { } waiting || waiting.Projected.Address != query.Address || waiting.Keys != keys || waiting.Values != values || waiting.Batch != batch)
            return default;
        preparing = null;
        return waiting;
    }

    /// <summary>The preparation that waits for this latent attention, and its latents; empty if none does.</summary>
    private LatentPreparation Prepared(Tensor query, Tensor cache, PagedBatch batch, out Tensor latent)
    {
        latent = default;
        if (latents is not { } waiting || waiting.Query != query || waiting.Cache != cache || waiting.Batch != batch)
            return default;
        (latents, latent) = (null, waiting.Latent);
        return waiting.How;
    }
}
