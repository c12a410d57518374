using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cpu;

public sealed unsafe partial class CpuBackend
{
    private NativeBlock? absorbed;

    /// <inheritdoc/>
    public override void LatentAttention(Tensor output, Tensor query, Tensor latents, Weight expand, PagedBatch batch, LatentShape shape)
    {
        int width = shape.Rank + shape.Rope;
        int perUnit = (shape.Heads + pool.Threads - 1) / pool.Threads;
        AttentionUnits units = new(batch, QueryTile, (shape.Heads + perUnit - 1) / perUnit);
        long tileBytes = QueryTiles.ScratchBytes(QueryTile * perUnit, width, shape.Rank);
        long expandedBytes = QueryTiles.Partition * (long)(shape.Plain + shape.Rope + shape.Value + width) * sizeof(float);
        int longest = 0;
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            longest = Math.Max(longest, *Ints(batch.QueryStarts, sequence + 1) - *Ints(batch.QueryStarts, sequence));
        long bytes = Math.Max(tileBytes, QueryTiles.ScratchBytes(longest, shape.Plain + shape.Rope, shape.Value) + expandedBytes);
        byte* memory = Scratch(bytes);
        int rowWidth = shape.Heads * (width + shape.Rank);
        float* transformed = (float*)NativeBlock.Ensure(ref absorbed, (long)batch.Tokens * rowWidth * sizeof(float));
        LatentWork work = new(output, query, latents, (RowWeight)expand, units, shape, perUnit, transformed, memory, bytes);
        pool.Run(units.Count, work);
        // The expanded form works on all rows of a sequence and one head at a time.
        pool.Run(batch.Sequences * shape.Heads, new ExpandedWork(work));
        Finish(output);
    }

    /// <summary>The absorbed form: queries go to the latents' space, so that latents serve as keys and values of all heads.</summary>
    private readonly struct LatentWork(
        Tensor output, Tensor query, Tensor latents, RowWeight expand, AttentionUnits units, LatentShape shape, int perUnit,
        float* transformed, byte* scratch, long scratchBytes) : IPoolWork
    {
        /// <summary>Query heads.</summary>
        public int Heads => shape.Heads;

        private int Width => shape.Rank + shape.Rope;

        public void Execute(int part, int worker)
        {
            (int sequence, int firstRow, int endRow, int unit) = units[part];
            if (Expands(sequence))
                return;
            int firstHead = unit * perUnit, endHead = Math.Min(firstHead + perUnit, shape.Heads);
            QueryTiles tile = new(scratch + worker * scratchBytes, QueryTile * perUnit, Width, shape.Rank);
            for (int row = firstRow; row < endRow; row++)
                for (int head = firstHead; head < endHead; head++)
                {
                    float* absorbedQuery = Absorbed(row, head);
                    Absorb(Query(row, head), head, absorbedQuery);
                    tile.Add(absorbedQuery, absorbedQuery + Width, 0, *Ints(units.Batch.Positions, row) + 1);
                }
            CacheView view = new(latents, Width);
            PagedRuns runs = new(view, view, units.Batch, sequence, 0);
            if (latents.Type == ElementType.BF16)
                tile.Run<PagedRuns, BFloat16Values>(runs, shape.Scale);
            else
                tile.Run<PagedRuns, SingleValues>(runs, shape.Scale);
            for (int row = firstRow; row < endRow; row++)
                for (int head = firstHead; head < endHead; head++)
                    for (int i = 0; i < shape.Value; i++)
                        Output(row, head)[i] = Dot(Absorbed(row, head) + Width, ExpandRow(head, shape.Plain + i));
        }

        /// <summary>One sequence and head in the expanded form: each partition's keys and values are made from the latents.</summary>
        public void Expanded(int sequence, int head, int worker)
        {
            if (!Expands(sequence))
                return;
            int firstRow = *Ints(units.Batch.QueryStarts, sequence), endRow = *Ints(units.Batch.QueryStarts, sequence + 1);
            byte* memory = scratch + worker * scratchBytes;
            QueryTiles tile = new(memory, endRow - firstRow, shape.Plain + shape.Rope, shape.Value);
            for (int row = firstRow; row < endRow; row++)
                tile.Add(Query(row, head), Output(row, head), 0, *Ints(units.Batch.Positions, row) + 1);
            float* buffer = (float*)(memory + QueryTiles.ScratchBytes(endRow - firstRow, shape.Plain + shape.Rope, shape.Value));
            CacheView view = new(latents, Width);
            tile.Run<ExpandedRuns, SingleValues>(
                new ExpandedRuns(new PagedRuns(view, view, units.Batch, sequence, 0), latents.Type, expand, head, shape, units.Batch.BlockSize, buffer),
                shape.Scale);
        }

        /// <summary>Whether the expanded form needs fewer multiplications for a sequence's rows.</summary>
        private bool Expands(int sequence)
        {
            long rows = *Ints(units.Batch.QueryStarts, sequence + 1) - *Ints(units.Batch.QueryStarts, sequence);
            long context = *Ints(units.Batch.Contexts, sequence);
            long projection = (long)shape.Rank * (shape.Plain + shape.Value);
            long expandedCost = context * projection + rows * context * (shape.Plain + shape.Rope + shape.Value);
            return expandedCost < rows * projection + rows * context * (2 * shape.Rank + shape.Rope);
        }

        private float* Query(int row, int head) => Floats(query, row) + head * (shape.Plain + shape.Rope);

        private float* Output(int row, int head) => Floats(output, row) + head * shape.Value;

        private float* Absorbed(int row, int head) => transformed + ((long)row * shape.Heads + head) * (Width + shape.Rank);

        private byte* ExpandRow(int head, int row) => expand.Row(head * (shape.Plain + shape.Value) + row);

        private void Absorb(float* from, int head, float* to)
        {
            float* widened = stackalloc float[shape.Rank];
            new Span<float>(to, shape.Rank).Clear();
            for (int i = 0; i < shape.Plain; i++)
                VectorMath.MultiplyAdd(to, Singles(ExpandRow(head, i), widened), from[i], shape.Rank);
            new ReadOnlySpan<float>(from + shape.Plain, shape.Rope).CopyTo(new Span<float>(to + shape.Rank, shape.Rope));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private float Dot(float* left, byte* row)
        {
            float* widened = stackalloc float[shape.Rank];
            return VectorMath.Dot(left, Singles(row, widened), shape.Rank);
        }

        private float* Singles(byte* row, float* widened)
        {
            if (expand.Type != ElementType.BF16)
                return (float*)row;
            BFloat16.ToSingle(new ReadOnlySpan<ushort>(row, shape.Rank), new Span<float>(widened, shape.Rank));
            return widened;
        }
    }

    private readonly struct ExpandedWork(LatentWork work) : IPoolWork
    {
        public void Execute(int part, int worker) => work.Expanded(part / work.Heads, part % work.Heads, worker);
    }
}
