namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    private const int QueryTile = 8; // rows of a sequence that read the cache together

    /// <inheritdoc/>
    public override void WriteCache(Tensor cache, Tensor rows, PagedBatch batch, int heads)
    {
        int width = rows.Columns / heads;
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
        {
            for (int row = *Ints(batch.QueryStarts, sequence); row < *Ints(batch.QueryStarts, sequence + 1); row++)
            {
                int position = *Ints(batch.Positions, row);
                int block = Ints(batch.Blocks, sequence)[position / batch.BlockSize];
                for (int head = 0; head < heads; head++)
                {
                    long at = (long)block * cache.Stride + ((long)head * batch.BlockSize + position % batch.BlockSize) * width;
                    ReadOnlySpan<float> values = new(Floats(rows, row) + head * width, width);
                    if (cache.Type == ElementType.BF16)
                        BFloat16.FromSingle(values, new Span<ushort>((ushort*)cache.Address + at, width));
                    else
                        values.CopyTo(new Span<float>((float*)cache.Address + at, width));
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void PagedAttention(
        Tensor output, Tensor query, Tensor keys, Tensor values, PagedBatch batch, int heads, int cacheHeads, float scale, int window = 0)
    {
        int width = query.Columns / heads, valueWidth = output.Columns / heads, share = heads / cacheHeads;
        // Few rows: the heads that share keys are spread over threads too, so that one sequence keeps all cores busy.
        int perUnit = batch.Tokens * cacheHeads < 2 * pool.Threads ? (share + pool.Threads - 1) / pool.Threads : share;
        int split = (share + perUnit - 1) / perUnit;
        long bytes = QueryTiles.ScratchBytes(QueryTile * perUnit, width, valueWidth);
        AttentionUnits units = new(batch, QueryTile, cacheHeads * split);
        pool.Run(units.Count, new PagedWork(
            output, query, new CacheView(keys, width), new CacheView(values, valueWidth),
            units, heads / cacheHeads, perUnit, split, scale, window, Scratch(bytes), bytes));
        Finish(output);
    }

    /// <inheritdoc/>
    public override void BidirectionalAttention(Tensor output, Tensor query, Tensor keys, Tensor values, int span, int heads, float scale)
    {
        int width = query.Columns / heads, tiles = (span + QueryTile - 1) / QueryTile;
        long bytes = QueryTiles.ScratchBytes(QueryTile, width, width);
        pool.Run(query.Rows / span * tiles * heads, new ItemWork(output, query, keys, values, span, tiles, heads, width, scale, Scratch(bytes), bytes));
        Finish(output);
    }

    /// <summary>One sequence's tile of rows, one cache head (or some of the query heads that share it).</summary>
    private readonly struct PagedWork(
        Tensor output, Tensor query, CacheView keys, CacheView values, AttentionUnits units, int share, int perUnit, int split,
        float scale, int window, byte* scratch, long scratchBytes) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            (int sequence, int firstRow, int endRow, int unit) = units[part];
            int cacheHead = unit / split, firstHead = cacheHead * share + unit % split * perUnit;
            int endHead = Math.Min(firstHead + perUnit, (cacheHead + 1) * share);
            QueryTiles tile = new(scratch + worker * scratchBytes, QueryTile * perUnit, keys.RowWidth, values.RowWidth);
            for (int row = firstRow; row < endRow; row++)
            {
                int end = *Ints(units.Batch.Positions, row) + 1, first = window > 0 ? Math.Max(0, end - window) : 0;
                for (int head = firstHead; head < endHead; head++)
                    tile.Add(Floats(query, row) + head * keys.RowWidth, first, end);
            }
            PagedRuns runs = new(keys, values, units.Batch, sequence, cacheHead);
            if (keys.Cache.Type == ElementType.BF16)
                tile.Run<PagedRuns, BFloat16Values>(runs, scale);
            else
                tile.Run<PagedRuns, SingleValues>(runs, scale);
            int place = 0;
            for (int row = firstRow; row < endRow; row++)
                for (int head = firstHead; head < endHead; head++)
                    tile.CopyResult(place++, Floats(output, row) + head * values.RowWidth);
        }
    }

    /// <summary>A few rows of one item, one head.</summary>
    private readonly struct ItemWork(
        Tensor output, Tensor query, Tensor keys, Tensor values, int span, int tiles, int heads, int width,
        float scale, byte* scratch, long scratchBytes) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            int column = part % heads * width, item = part / heads / tiles * span, first = part / heads % tiles * QueryTile;
            QueryTiles tile = new(scratch + worker * scratchBytes, QueryTile, width, width);
            int end = Math.Min(span, first + QueryTile);
            for (int row = first; row < end; row++)
                tile.Add(Floats(query, item + row) + column, 0, span);
            tile.Run<ItemRuns, SingleValues>(new ItemRuns(Floats(keys, item) + column, keys.Stride, Floats(values, item) + column, values.Stride), scale);
            for (int row = first; row < end; row++)
                tile.CopyResult(row - first, Floats(output, item + row) + column);
        }
    }
}
