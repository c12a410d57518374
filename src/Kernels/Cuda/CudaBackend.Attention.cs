namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int FewRows = 16, PrefillStages = 2 * 2 * 64 * 2; // rows of a sequence and a cache head that Attention.cu takes; bytes of Prefill.cu for a column
    private const int DecodeStages = 4 * 2 * 2 * 16 * 2, TeamReach = 4096; // bytes of Attention.cu for a column; positions of eight of its blocks
    private const int LongestPart = 4096, Team = 8, LatentBytes = 2 * ((64 * 584) + (16 * 608)), MostPlainWidth = 1088, MostLatentQuery = 1024;
    private readonly Kernel attendPlain, attendItems, attend64, attend128, attendMore64, attendMore128, prefill64, prefill128, absorb, release, attendLatent, attendLatentFew;
    private DeviceBuffer? partial, tickets, absorbedQueries;

    /// <inheritdoc/>
    public override void PagedAttention(
        Tensor output, Tensor query, Tensor keys, Tensor values, PagedBatch batch, int heads, int cacheHeads, float scale, int window = 0)
    {
        int width = query.Columns / heads, valueWidth = output.Columns / heads;
        if (keys.Type != ElementType.BF16 || width != valueWidth || width is not (64 or 128) || Vectors(query) == 0)
        {
            Plain(output, query, keys, values, batch, heads, cacheHeads, width, valueWidth, valueWidth, scale, window);
            return;
        }
        int share = heads / cacheHeads;
        bool single = batch.Tokens == batch.Sequences && share <= FewRows;
        if (!single)
        {
            const int PerBlock = 128;
            Launch(width == 64 ? prefill64 : prefill128, new Grid((int)((long)batch.Tokens * share / PerBlock) + batch.Sequences, cacheHeads), 2 * PerBlock,
                new PrefillArguments(output, query, keys, values, batch, heads, cacheHeads, window, scale), width * PrefillStages);
            if (share > FewRows || (batch.Sequences == 1 && batch.Tokens * share > FewRows))
                return;
        }
        int parts = Up(Bound(batch), TeamReach) * Team;
        long places = (long)batch.Sequences * cacheHeads;
        nint sums = Ensure(ref partial, places * parts * 16 * (width + 4) * sizeof(float), "attention over parts of a context");
        nint counters = Ensure(ref tickets, places * Team * sizeof(int), "attention over parts of a context");
        PrepareArguments own = Prepared(query, keys, values, batch);
        Kernel few = single && share <= 8 ? width == 64 ? attend64 : attend128 : width == 64 ? attendMore64 : attendMore128;
        Launch(few, new Grid(parts, cacheHeads, batch.Sequences), 128, new AttentionArguments(
            output, query, keys, values, batch, sums, counters, own.QueryGain, own.KeyGain, own.Table, heads, cacheHeads, parts, single ? 1 : 0, window, scale, own.Epsilon),
            width * DecodeStages);
    }

    /// <inheritdoc/>
    public override void BidirectionalAttention(Tensor output, Tensor query, Tensor keys, Tensor values, int span, int heads, float scale)
    {
        int width = query.Columns / heads;
        if (width > MostPlainWidth)
            throw new CudaException($"Attention heads of {width} columns are not supported on the GPU; use --device cpu.");
        Launch(attendItems, new Grid(query.Rows, heads), 128, new ItemsArguments(output, query, keys, values, span, heads, width, scale));
    }

    /// <inheritdoc/>
    public override void LatentAttention(Tensor output, Tensor query, Tensor latents, Weight expand, PagedBatch batch, LatentShape shape)
    {
        int width = shape.Rank + shape.Rope, queryWidth = shape.Plain + shape.Rope, kind = ((CudaWeight)expand).Kind;
        if (width > MostPlainWidth || queryWidth > MostLatentQuery || shape.Rank % 2 != 0 || kind > 1)
            throw new CudaException($"Latent attention of {queryWidth} query and {width} latent columns with an expansion in {expand.Type} is not supported on the GPU; use --device cpu.");
        long absorbedBytes = (long)batch.Tokens * shape.Heads * width * sizeof(float);
        nint memory = Ensure(ref absorbedQueries, absorbedBytes + (long)batch.Tokens * shape.Heads * shape.Rank * sizeof(float), "latent attention");
        bool tiled = latents.Type == ElementType.BF16 && shape.Rank == 512 && shape.Rope == 64, split = batch.Tokens == batch.Sequences;
        int headTiles = Up(shape.Heads, 16), parts = split ? Up(Parts(Bound(batch), 64, 2048), Team) * Team : 1;
        long places = (long)batch.Tokens * headTiles;
        nint sums = tiled && split ? Ensure(ref partial, places * parts * 16 * (shape.Rank + 4) * sizeof(float), "attention over parts of a context") : 0;
        nint counters = tiled && split ? Ensure(ref tickets, places * Team * sizeof(int), "attention over parts of a context") : 0;
        Tensor absorbed = new(memory, ElementType.F32, batch.Tokens, shape.Heads * width, shape.Heads * width);
        Tensor gathered = new(memory + (nint)absorbedBytes, ElementType.F32, batch.Tokens, shape.Heads * shape.Rank, shape.Heads * shape.Rank);
        LatentPreparation own = Prepared(query, latents, batch, out Tensor latent);
        AbsorbArguments arguments = new(
            query, absorbed, gathered, output, latent, own.Gain, own.Rope, latents, batch, View(expand), shape.Heads, shape.Plain, shape.Rope, shape.Value, shape.Rank, kind,
            Brain(latents), own.Interleaved ? 1 : 0, own.Epsilon);
        Launch(absorb, new Grid(Up(width, 64) + (latent.IsEmpty ? 0 : 1), shape.Heads, Up(batch.Tokens, 4)), Threads, arguments);
        if (tiled)
            Launch(split ? attendLatentFew : attendLatent, new Grid(parts, headTiles, batch.Tokens), 128, new LatentArguments(gathered, absorbed, latents, batch, sums, counters, shape.Heads, parts, shape.Scale), LatentBytes);
        else
            Plain(gathered, absorbed, latents, latents, batch, shape.Heads, 1, width, shape.Rank, width, shape.Scale, 0);
        Launch(release, new Grid(Up((long)shape.Heads * shape.Value, 8), Up(batch.Tokens, 4)), Threads, arguments);
    }

    /// <summary>Most parts that a context of at most <paramref name="bound"/> positions has, as the kernels size them.</summary>
    /// <param name="bound">Longest context.</param>
    /// <param name="size">Positions in a part of the shortest contexts.</param>
    /// <param name="reach">Contexts up to this length have such parts; those up to four times it parts of twice the size, and so on to 4096.</param>
    internal static int Parts(int bound, int size, int reach)
    {
        int most = 1;
        for (; size < LongestPart && bound > reach; size *= 2, reach *= 4)
            most = Math.Max(most, Up(reach, size));
        return Math.Max(most, Up(bound, size));
    }

    private void Plain(
        Tensor output, Tensor query, Tensor keys, Tensor values, PagedBatch batch, int heads, int cacheHeads, int width, int valueWidth, int valuePitch, float scale, int window)
    {
        if (Math.Max(width, valueWidth) > MostPlainWidth)
            throw new CudaException($"Attention heads of {Math.Max(width, valueWidth)} columns are not supported on the GPU; use --device cpu.");
        Launch(attendPlain, new Grid(batch.Tokens, heads), 128, new PlainArguments(
            output, query, keys, values, batch, heads, cacheHeads, width, valueWidth, valuePitch, Brain(keys), window, scale));
    }

    /// <summary>Longest context that the step's block table has room for.</summary>
    private static int Bound(PagedBatch batch) => batch.Blocks.Columns * batch.BlockSize;

    private readonly record struct PlainArguments(
        Tensor Output, Tensor Query, Tensor Keys, Tensor Values, PagedBatch Batch, int Heads, int CacheHeads, int Width, int ValueWidth,
        int ValuePitch, int Brain, int Window, float Scale);

    private readonly record struct ItemsArguments(
        Tensor Output, Tensor Query, Tensor Keys, Tensor Values, int Span, int Heads, int Width, float Scale);

    private readonly record struct AttentionArguments(
        Tensor Output, Tensor Query, Tensor Keys, Tensor Values, PagedBatch Batch, nint Partial, nint Tickets, Tensor QueryGain, Tensor KeyGain,
        Tensor Table, int Heads, int CacheHeads, int Parts, int Single, int Window, float Scale, float Epsilon);

    private readonly record struct AbsorbArguments(
        Tensor Query, Tensor Absorbed, Tensor Gathered, Tensor Output, Tensor Latent, Tensor Gain, Tensor Table, Tensor Cache, PagedBatch Batch, WeightView Expand,
        int Heads, int Plain, int Rope, int Value, int Rank, int Brain, int BrainCache, int Interleaved, float Epsilon);

    private readonly record struct PrefillArguments(
        Tensor Output, Tensor Query, Tensor Keys, Tensor Values, PagedBatch Batch, int Heads, int CacheHeads, int Window, float Scale);

    private readonly record struct LatentArguments(
        Tensor Output, Tensor Query, Tensor Latents, PagedBatch Batch, nint Partial, nint Tickets, int Heads, int Parts, float Scale);
}
