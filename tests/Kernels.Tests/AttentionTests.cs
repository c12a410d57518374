namespace XDeepServe.Kernels.Tests;

public sealed class AttentionTests
{
    private const int BlockSize = 16;

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    public void Paged_attention_agrees_with_the_naive_twin(ElementType type)
    {
        foreach ((int heads, int cacheHeads, int width) in new[] { (1, 1, 8), (4, 2, 24), (6, 2, 64), (8, 1, 80) })
        {
            using Bench bench = new(heads);
            PagedBatch batch = Batch(bench, (3, 3), (1, 40), (19, 300), (1, 1));
            (Tensor keys, Tensor values) = (Cache(bench, type, cacheHeads * width), Cache(bench, type, cacheHeads * width));
            Tensor query = bench.Normal(batch.Tokens, heads * width), expected = bench.Empty(batch.Tokens, heads * width), actual = bench.Copy(expected);
            foreach (int window in new[] { 0, 1, 5, 16, 37, 261, 1000 })
            {
                bench.Naive.PagedAttention(expected, query, keys, values, batch, heads, cacheHeads, 0.3f, window);
                bench.Cpu.PagedAttention(actual, query, keys, values, batch, heads, cacheHeads, 0.3f, window);
                Bench.Close(expected, actual, 1e-5);
            }
        }
    }

    [Fact]
    public void Bidirectional_attention_agrees_with_the_naive_twin()
    {
        foreach ((int items, int span, int heads, int width) in new[] { (1, 1, 1, 8), (3, 10, 4, 16), (2, 37, 3, 20), (1, 300, 2, 64) })
        {
            using Bench bench = new(span);
            // Queries, keys and values as columns of one projection.
            Tensor projected = bench.Normal(items * span, 3 * heads * width), expected = bench.Empty(items * span, heads * width), actual = bench.Copy(expected);
            (Tensor query, Tensor keys, Tensor values) = (projected.Cut(0, heads * width), projected.Cut(heads * width, heads * width), projected.Cut(2 * heads * width, heads * width));
            bench.Naive.BidirectionalAttention(expected, query, keys, values, span, heads, 0.3f);
            bench.Cpu.BidirectionalAttention(actual, query, keys, values, span, heads, 0.3f);
            Bench.Close(expected, actual, 1e-5);
            Tensor alone = bench.Empty(span, heads * width);
            bench.Cpu.BidirectionalAttention(
                alone, query.Slice((items - 1) * span, span), keys.Slice((items - 1) * span, span), values.Slice((items - 1) * span, span), span, heads, 0.3f);
            Bench.Same(actual.Slice((items - 1) * span, span), alone);
        }
    }

    [Theory]
    [InlineData(ElementType.F32, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    [InlineData(ElementType.F32, ElementType.BF16)]
    public void Latent_attention_agrees_with_the_naive_twin(ElementType type, ElementType weightType)
    {
        foreach (LatentShape shape in new[] { new LatentShape(4, 16, 8, 16, 32, 0.2f), new LatentShape(3, 10, 6, 12, 20, 0.3f), new LatentShape(6, 64, 32, 64, 128, 0.1f) })
        {
            using Bench bench = new(shape.Rank);
            PagedBatch batch = Batch(bench, (1, 300), (70, 280), (2, 2), (1, 17));
            (Weight cpu, Weight naive) = bench.Weight(weightType, 1, shape.Heads * (shape.Plain + shape.Value), shape.Rank);
            Tensor latents = Cache(bench, type, shape.Rank + shape.Rope);
            Tensor query = bench.Normal(batch.Tokens, shape.Heads * (shape.Plain + shape.Rope));
            Tensor expected = bench.Empty(batch.Tokens, shape.Heads * shape.Value), actual = bench.Copy(expected);
            bench.Naive.LatentAttention(expected, query, latents, naive, batch, shape);
            bench.Cpu.LatentAttention(actual, query, latents, cpu, batch, shape);
            Bench.Close(expected, actual, 1e-5);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(45)]
    [InlineData(300)]
    public void A_row_is_the_same_alone_in_a_chunk_and_in_a_batch(int window)
    {
        using Bench bench = new(1);
        const int Heads = 6, CacheHeads = 3, Width = 32, Context = 530;
        PagedBatch whole = Batch(bench, (Context, Context), (1, 9), (4, 100));
        (Tensor keys, Tensor values) = (Cache(bench, ElementType.F32, CacheHeads * Width), Cache(bench, ElementType.F32, CacheHeads * Width));
        Tensor query = bench.Normal(whole.Tokens, Heads * Width), together = bench.Empty(whole.Tokens, Heads * Width), alone = bench.Copy(together);
        bench.Cpu.PagedAttention(together, query, keys, values, whole, Heads, CacheHeads, 0.2f, window);
        for (int start = 0; start < Context;)
        {
            int count = Math.Min(Context - start, bench.Random.Next(1, 90));
            PagedBatch part = new(
                whole.Positions.Slice(start, count), bench.Integers(0, count), bench.Integers(start + count), whole.Blocks.Slice(0, 1), BlockSize);
            bench.Cpu.PagedAttention(alone.Slice(start, count), query.Slice(start, count), keys, values, part, Heads, CacheHeads, 0.2f, window);
            start += count;
        }
        Bench.Same(together.Take(Context), alone.Take(Context));
    }

    [Theory]
    [InlineData(ElementType.F32, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    public void A_row_of_latent_attention_is_the_same_alone_in_a_chunk_and_in_a_batch(ElementType type, ElementType weightType)
    {
        foreach (LatentShape shape in new[] { new LatentShape(3, 10, 6, 12, 20, 0.3f), new LatentShape(6, 64, 32, 64, 128, 0.1f) })
        {
            using Bench bench = new(shape.Rank);
            const int Context = 530;
            PagedBatch whole = Batch(bench, (Context, Context), (1, 9), (4, 100));
            (Weight expand, _) = bench.Weight(weightType, 1, shape.Heads * (shape.Plain + shape.Value), shape.Rank);
            Tensor latents = Cache(bench, type, shape.Rank + shape.Rope);
            Tensor query = bench.Normal(whole.Tokens, shape.Heads * (shape.Plain + shape.Rope));
            Tensor together = bench.Empty(whole.Tokens, shape.Heads * shape.Value), alone = bench.Copy(together);
            bench.Cpu.LatentAttention(together, query, latents, expand, whole, shape);
            for (int start = 0; start < Context;)
            {
                int count = Math.Min(Context - start, bench.Random.Next(2) == 0 ? 1 : bench.Random.Next(2, 90));
                PagedBatch part = new(
                    whole.Positions.Slice(start, count), bench.Integers(0, count), bench.Integers(start + count), whole.Blocks.Slice(0, 1), BlockSize);
                bench.Cpu.LatentAttention(alone.Slice(start, count), query.Slice(start, count), latents, expand, part, shape);
                start += count;
            }
            Bench.Same(together.Take(Context), alone.Take(Context));
        }
    }

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    public void The_cache_is_written_where_the_naive_twin_writes_it(ElementType type)
    {
        using Bench bench = new(4);
        PagedBatch batch = Batch(bench, (5, 20), (1, 33));
        Tensor rows = bench.Normal(batch.Tokens, 3 * 12), expected = Cache(bench, type, 36), actual = bench.Copy(expected);
        bench.Naive.WriteCache(expected, rows, batch, 3);
        bench.Cpu.WriteCache(actual, rows, batch, 3);
        Bench.Same(expected, actual);
    }

    internal static Tensor Cache(Bench bench, ElementType type, int rowWidth, int blocks = 48) => bench.Normal(blocks, BlockSize * rowWidth, type);

    /// <summary>Sequences of (rows in this step, positions after it), over shuffled blocks.</summary>
    internal static PagedBatch Batch(Bench bench, params (int Rows, int Context)[] sequences) => Batch(bench, 48, sequences);

    /// <summary>The same over a cache of so many blocks; where they do not suffice, sequences share some.</summary>
    internal static PagedBatch Batch(Bench bench, int count, (int Rows, int Context)[] sequences)
    {
        int[] blocks = [.. Enumerable.Range(0, count)];
        bench.Random.Shuffle(blocks);
        int most = sequences.Max(sequence => (sequence.Context + BlockSize - 1) / BlockSize), next = 0;
        Tensor table = bench.Empty(sequences.Length, most, ElementType.I32);
        List<int> starts = [0], positions = [], contexts = [];
        for (int sequence = 0; sequence < sequences.Length; sequence++)
        {
            (int rows, int context) = sequences[sequence];
            positions.AddRange(Enumerable.Range(context - rows, rows));
            starts.Add(positions.Count);
            contexts.Add(context);
            for (int block = 0; block < (context + BlockSize - 1) / BlockSize; block++)
                table.Int(sequence, block) = blocks[next++ % blocks.Length];
        }
        return new PagedBatch(bench.Integers([.. positions]), bench.Integers([.. starts]), bench.Integers([.. contexts]), table, BlockSize);
    }
}
