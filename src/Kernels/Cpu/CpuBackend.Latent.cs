namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    private const int LatentRows = 32;    // most rows of a sequence in a tile: they share what is read of the expansion
    private const int LatentQueries = 64; // rows times heads that read the cache together
    private const int ManyQueries = 16;   // from here on latents are copied before they are read

    /// <inheritdoc/>
    public override void LatentAttention(Tensor output, Tensor query, Tensor latents, Weight expand, PagedBatch batch, LatentShape shape)
    {
        RowWeight expansion = (RowWeight)expand;
        if (expansion.Type is not (ElementType.F32 or ElementType.BF16))
            throw new ArgumentException($"Latent attention takes an expansion in F32 or BF16, not in {expansion.Type}.", nameof(expand));
        int longest = 0;
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            longest = Math.Max(longest, *Ints(batch.QueryStarts, sequence + 1) - *Ints(batch.QueryStarts, sequence));
        int rows = Math.Clamp(longest, 1, LatentRows);
        int perUnit = Math.Min((shape.Heads + pool.Threads - 1) / pool.Threads, LatentQueries / rows);
        AttentionUnits units = new(batch, rows, (shape.Heads + perUnit - 1) / perUnit);
        long bytes = QueryTiles.ScratchBytes(rows * perUnit, shape.Rank + shape.Rope, shape.Rank) + CopiedRuns.CopyBytes(shape.Rank + shape.Rope);
        pool.Run(units.Count, new LatentWork(output, query, latents, expansion, units, shape, perUnit, Scratch(bytes), bytes));
        Finish(output);
    }

    /// <summary>
    /// A tile of rows, some heads: queries go to the latents' space, so that latents serve as keys and values of all heads. There is no other
    /// form, so that a row has the same bits in every chunk.
    /// </summary>
    private readonly struct LatentWork(
        Tensor output, Tensor query, Tensor latents, RowWeight expand, AttentionUnits units, LatentShape shape, int perUnit,
        byte* scratch, long scratchBytes) : IPoolWork
    {
        private int Width => shape.Rank + shape.Rope;

        public void Execute(int part, int worker)
        {
            (int sequence, int firstRow, int endRow, int unit) = units[part];
            int firstHead = unit * perUnit, endHead = Math.Min(firstHead + perUnit, shape.Heads), rows = endRow - firstRow;
            QueryTiles tile = new(scratch + worker * scratchBytes, rows * (endHead - firstHead), Width, shape.Rank);
            for (int head = firstHead; head < endHead; head++)
            {
                float* absorbed = tile.Query((head - firstHead) * rows); // [rows, QueryStride]
                for (int row = firstRow; row < endRow; row++)
                    tile.Add(0, *Ints(units.Batch.Positions, row) + 1);
                if (expand.Type == ElementType.BF16)
                    Absorb<BFloat16Values>(firstRow, rows, head, absorbed, tile.QueryStride);
                else
                    Absorb<SingleValues>(firstRow, rows, head, absorbed, tile.QueryStride);
            }
            CacheView view = new(latents, Width);
            PagedRuns runs = new(view, view, units.Batch, sequence, 0);
            float* copies = (float*)(scratch + (worker + 1) * scratchBytes - CopiedRuns.CopyBytes(Width));
            if (rows * (endHead - firstHead) >= ManyQueries)
                tile.Run<CopiedRuns, SingleValues>(new CopiedRuns(runs, latents.Type, Width, copies), shape.Scale);
            else if (latents.Type == ElementType.BF16)
                tile.Run<PagedRuns, BFloat16Values>(runs, shape.Scale);
            else
                tile.Run<PagedRuns, SingleValues>(runs, shape.Scale);
            for (int head = firstHead; head < endHead; head++)
            {
                float* gathered = tile.Result((head - firstHead) * rows); // [rows, ResultStride]
                if (expand.Type == ElementType.BF16)
                    Release<BFloat16Values>(firstRow, rows, head, gathered, tile.ResultStride);
                else
                    Release<SingleValues>(firstRow, rows, head, gathered, tile.ResultStride);
            }
        }

        /// <summary>A head's queries, to the latents' space: the plain part through the head's keys, the rotated part as it is.</summary>
        private void Absorb<TValues>(int firstRow, int rows, int head, float* absorbed, int stride) where TValues : struct, IStoredValues
        {
            float* from = Floats(query, firstRow) + head * (shape.Plain + shape.Rope);
            for (int row = 0; row < rows; row++)
            {
                new Span<float>(absorbed + row * stride, shape.Rank).Clear();
                new ReadOnlySpan<float>(from + (long)row * query.Stride + shape.Plain, shape.Rope).CopyTo(new Span<float>(absorbed + row * stride + shape.Rank, shape.Rope));
            }
            for (int done = 0, count; done < shape.Plain; done += count)
            {
                KeyRun keys = expand.Run(head * (shape.Plain + shape.Value) + done, shape.Plain - done, out count);
                int row = 0;
                for (; row <= rows - QueryMath.Group; row += QueryMath.Group)
                    QueryMath.Gather4<TValues>(absorbed + row * stride, stride, keys, count, shape.Rank, from + (long)row * query.Stride + done, query.Stride);
                for (; row < rows; row++)
                    QueryMath.Gather<TValues>(absorbed + row * stride, keys, 0, count, shape.Rank, from + (long)row * query.Stride + done);
            }
        }

        /// <summary>What a head's queries have gathered, from the latents' space: through the head's values.</summary>
        private void Release<TValues>(int firstRow, int rows, int head, float* gathered, int stride) where TValues : struct, IStoredValues
        {
            float* to = Floats(output, firstRow) + head * shape.Value;
            for (int done = 0, count; done < shape.Value; done += count)
            {
                KeyRun values = expand.Run(head * (shape.Plain + shape.Value) + shape.Plain + done, shape.Value - done, out count);
                int row = 0;
                for (; row <= rows - QueryMath.Group; row += QueryMath.Group)
                    QueryMath.Score4<TValues>(gathered + row * stride, stride, values, count, shape.Rank, to + (long)row * output.Stride + done, output.Stride);
                for (; row < rows; row++)
                    QueryMath.Score<TValues>(gathered + row * stride, values, 0, count, shape.Rank, to + (long)row * output.Stride + done);
            }
        }
    }
}
