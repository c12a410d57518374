namespace XDeepServe.Kernels.Tests.Cuda;

[Collection("cuda")]
public sealed class CudaAttentionTests(CudaDevice device)
{
    [Theory]
    [InlineData(ElementType.F32, false)]
    [InlineData(ElementType.BF16, false)]
    [InlineData(ElementType.BF16, true)]
    public void Paged_attention_agrees_with_the_naive_twin(ElementType type, bool decode)
    {
        foreach ((int heads, int cacheHeads, int width, int window) in new[] { (1, 1, 8, 0), (4, 2, 24, 0), (6, 2, 64, 0), (8, 1, 128, 0), (8, 8, 64, 0), (40, 2, 128, 0), (8, 1, 80, 0), (6, 2, 64, 50), (4, 2, 24, 20) })
        {
            using Mirror mirror = device.Open(heads);
            PagedBatch batch = decode
                ? AttentionTests.Batch(mirror.Host, (1, 40), (1, 300), (1, 1), (1, 700), (1, 64), (1, 129), (1, 1500))
                : AttentionTests.Batch(mirror.Host, (3, 3), (1, 40), (19, 300), (1, 1), (90, 200), (1, 600));
            (Tensor keys, Tensor values) = (AttentionTests.Cache(mirror.Host, type, cacheHeads * width), AttentionTests.Cache(mirror.Host, type, cacheHeads * width));
            Tensor query = mirror.Host.Normal(batch.Tokens, heads * width), expected = mirror.Host.Empty(batch.Tokens, heads * width);
            Tensor actual = mirror.Poisoned(batch.Tokens, heads * width);
            mirror.Naive.PagedAttention(expected, query, keys, values, batch, heads, cacheHeads, 0.2f, window);
            (Tensor there, Tensor k, Tensor v, PagedBatch where) = (mirror.Up(query), mirror.Up(keys), mirror.Up(values), mirror.Up(batch));
            for (int round = 0; round < 2; round++)
                mirror.Gpu.PagedAttention(actual, there, k, v, where, heads, cacheHeads, 0.2f, window);
            mirror.Near(expected, actual, type == ElementType.BF16 ? 1e-2 : 1e-4, $"{heads}/{cacheHeads} x {width}, window {window}");
        }
    }

    [Theory]
    [InlineData(ElementType.F32, ElementType.F32)]
    [InlineData(ElementType.BF16, ElementType.BF16)]
    [InlineData(ElementType.F32, ElementType.BF16)]
    public void Latent_attention_agrees_with_the_naive_twin(ElementType type, ElementType weightType)
    {
        LatentShape[] shapes =
        [
            new(4, 16, 8, 16, 32, 0.2f), new(3, 10, 6, 12, 20, 0.3f), new(6, 64, 32, 64, 128, 0.1f), new(3, 24, 64, 16, 512, 0.1f), new(20, 16, 64, 24, 512, 0.1f),
        ];
        foreach (LatentShape shape in shapes)
        {
            foreach (bool decode in new[] { false, true })
            {
                using Mirror mirror = device.Open(shape.Rank);
                PagedBatch batch = decode
                    ? AttentionTests.Batch(mirror.Host, (1, 300), (1, 5), (1, 64), (1, 1200))
                    : AttentionTests.Batch(mirror.Host, (1, 150), (12, 140), (2, 2), (1, 17));
                (Weight gpu, Weight naive) = mirror.Weight(weightType, 1, shape.Heads * (shape.Plain + shape.Value), shape.Rank);
                Tensor latents = AttentionTests.Cache(mirror.Host, type, shape.Rank + shape.Rope);
                Tensor query = mirror.Host.Normal(batch.Tokens, shape.Heads * (shape.Plain + shape.Rope));
                Tensor expected = mirror.Host.Empty(batch.Tokens, shape.Heads * shape.Value), actual = mirror.Poisoned(batch.Tokens, shape.Heads * shape.Value);
                mirror.Naive.LatentAttention(expected, query, latents, naive, batch, shape);
                (Tensor there, Tensor cache, PagedBatch where) = (mirror.Up(query), mirror.Up(latents), mirror.Up(batch));
                for (int round = 0; round < 2; round++)
                    mirror.Gpu.LatentAttention(actual, there, cache, gpu, where, shape);
                mirror.Near(expected, actual, type == ElementType.BF16 ? 1e-2 : 1e-4, $"{shape}, decode {decode}");
            }
        }
    }

    [Fact]
    public void Bidirectional_attention_agrees_with_the_naive_twin()
    {
        foreach ((int items, int span, int heads, int width) in new[] { (1, 5, 2, 8), (3, 150, 3, 24) })
        {
            using Mirror mirror = device.Open(span);
            Tensor query = mirror.Host.Normal(items * span, heads * width), keys = mirror.Host.Normal(items * span, heads * width), values = mirror.Host.Normal(items * span, heads * width);
            Tensor expected = mirror.Host.Empty(items * span, heads * width), actual = mirror.Poisoned(items * span, heads * width);
            mirror.Naive.BidirectionalAttention(expected, query, keys, values, span, heads, 0.2f);
            mirror.Gpu.BidirectionalAttention(actual, mirror.Up(query), mirror.Up(keys), mirror.Up(values), span, heads, 0.2f);
            mirror.Near(expected, actual, 1e-5, $"{items} items of {span}");
        }
    }

    [Theory]
    [InlineData(ElementType.F32)]
    [InlineData(ElementType.BF16)]
    public void The_cache_is_written_where_the_naive_twin_writes_it(ElementType type)
    {
        using Mirror mirror = device.Open(4);
        PagedBatch batch = AttentionTests.Batch(mirror.Host, (5, 20), (1, 33));
        Tensor rows = mirror.Host.Normal(batch.Tokens, 3 * 12), expected = AttentionTests.Cache(mirror.Host, type, 36), actual = mirror.Up(expected);
        mirror.Naive.WriteCache(expected, rows, batch, 3);
        mirror.Gpu.WriteCache(actual, mirror.Up(rows), mirror.Up(batch), 3);
        Bench.Same(expected, mirror.Down(actual));
    }

    [Theory]
    [InlineData(ElementType.F32, 128, true)]
    [InlineData(ElementType.BF16, 64, true)]
    [InlineData(ElementType.F32, 24, false)]
    public void Prepared_heads_agree_with_the_naive_twin(ElementType type, int width, bool norms)
    {
        using Mirror mirror = device.Open(width);
        const int Heads = 6, CacheHeads = 2;
        PagedBatch batch = AttentionTests.Batch(mirror.Host, (5, 20), (1, 33));
        Tensor projected = mirror.Host.Normal(batch.Tokens, (Heads + 2 * CacheHeads) * width), table = mirror.Host.Normal(64, width);
        (Tensor query, Tensor key) = norms ? (mirror.Host.Normal(1, width), mirror.Host.Normal(1, width)) : default;
        (Tensor keys, Tensor values) = (AttentionTests.Cache(mirror.Host, type, CacheHeads * width), AttentionTests.Cache(mirror.Host, type, CacheHeads * width));
        (Tensor there, Tensor k, Tensor v) = (mirror.Up(projected), mirror.Up(keys), mirror.Up(values));
        mirror.Gpu.PrepareHeads(there, new HeadPreparation(Heads, CacheHeads, width, mirror.Up(query), mirror.Up(key), 1e-5f, mirror.Up(table)), k, v, mirror.Up(batch));
        mirror.Naive.PrepareHeads(projected, new HeadPreparation(Heads, CacheHeads, width, query, key, 1e-5f, table), keys, values, batch);
        Tensor rotated = mirror.Down(there);
        Bench.Close(projected.Cut(0, Heads * width), rotated.Cut(0, Heads * width), 1e-5);
        mirror.Near(keys, k, type == ElementType.BF16 ? 1e-3 : 1e-5, "keys");
        mirror.Near(values, v, 1e-6, "values");
    }

    [Theory]
    [InlineData(6, 2, 64, true, 0, 700)]
    [InlineData(8, 1, 128, true, 0, 513)]
    [InlineData(40, 4, 128, false, 0, 300)]
    [InlineData(16, 1, 64, true, 50, 640)]
    [InlineData(7, 1, 128, true, 0, 4200)]
    [InlineData(12, 1, 64, false, 0, 9000)]
    public void Attention_that_prepares_its_heads_agrees_with_the_naive_twin(int heads, int cacheHeads, int width, bool norms, int window, int longest)
    {
        const int Blocks = 600;
        using Mirror mirror = device.Open(width, ElementType.BF16);
        PagedBatch batch = AttentionTests.Batch(mirror.Host, Blocks, [(1, 17), (1, longest), (1, 1)]);
        Tensor projected = mirror.Host.Normal(batch.Tokens, (heads + 2 * cacheHeads) * width), table = mirror.Host.Normal(Math.Max(700, longest), width);
        (Tensor query, Tensor key) = norms ? (mirror.Host.Normal(1, width), mirror.Host.Normal(1, width)) : default;
        (Tensor keys, Tensor values) = (AttentionTests.Cache(mirror.Host, ElementType.BF16, cacheHeads * width, Blocks), AttentionTests.Cache(mirror.Host, ElementType.BF16, cacheHeads * width, Blocks));
        (Tensor k, Tensor v, PagedBatch where) = (mirror.Up(keys), mirror.Up(values), mirror.Up(batch));
        HeadPreparation how = new(heads, cacheHeads, width, mirror.Up(query), mirror.Up(key), 1e-5f, mirror.Up(table));
        Tensor expected = mirror.Host.Empty(batch.Tokens, heads * width), actual = mirror.Poisoned(batch.Tokens, heads * width);
        for (int round = 0; round < 2; round++)
        {
            // The first round may grow a buffer between the two, which sends the preparation off on its own.
            Tensor there = mirror.Up(projected);
            mirror.Gpu.PrepareHeads(there, how, k, v, where);
            mirror.Gpu.PagedAttention(actual, there.Cut(0, heads * width), k, v, where, heads, cacheHeads, 0.05f, window);
        }
        mirror.Naive.PrepareHeads(projected, new HeadPreparation(heads, cacheHeads, width, query, key, 1e-5f, table), keys, values, batch);
        mirror.Naive.PagedAttention(expected, projected.Cut(0, heads * width), keys, values, batch, heads, cacheHeads, 0.05f, window);
        mirror.Near(expected, actual, 1e-2, $"{heads}/{cacheHeads} x {width}");
        mirror.Near(keys, k, 1e-3, "keys");
        mirror.Near(values, v, 1e-6, "values");
    }

    [Theory]
    [InlineData(3, 24, 64, 16, 512, true, ElementType.BF16)]
    [InlineData(20, 140, 64, 24, 512, false, ElementType.BF16)]
    [InlineData(3, 10, 6, 12, 20, true, ElementType.BF16)]
    [InlineData(6, 64, 32, 64, 128, false, ElementType.F32)]
    public void Latent_attention_that_prepares_its_rows_agrees_with_the_naive_twin(int heads, int plain, int rope, int value, int rank, bool interleaved, ElementType type)
    {
        const int Blocks = 96;
        LatentShape shape = new(heads, plain, rope, value, rank, 0.1f);
        foreach (bool decode in new[] { false, true })
        {
            using Mirror mirror = device.Open(rank, type);
            PagedBatch batch = decode
                ? AttentionTests.Batch(mirror.Host, Blocks, [(1, 300), (1, 5), (1, 64), (1, 1), (1, 690)])
                : AttentionTests.Batch(mirror.Host, (1, 150), (12, 140), (2, 2), (1, 17));
            (Weight gpu, Weight naive) = mirror.Weight(type, 1, heads * (plain + value), rank);
            Tensor cache = AttentionTests.Cache(mirror.Host, type, rank + rope, Blocks), table = mirror.Host.Normal(700, rope), gain = mirror.Host.Normal(1, rank);
            Tensor query = mirror.Host.Normal(batch.Tokens, heads * (plain + rope)), latent = mirror.Host.Normal(batch.Tokens, rank + rope);
            Tensor expected = mirror.Host.Empty(batch.Tokens, heads * value), actual = mirror.Poisoned(batch.Tokens, heads * value);
            (Tensor there, PagedBatch where) = (mirror.Up(cache), mirror.Up(batch));
            LatentPreparation how = new(mirror.Up(gain), 1e-5f, mirror.Up(table), interleaved);
            for (int round = 0; round < 2; round++)
            {
                // The first round may grow a buffer between the two, which sends the preparation off on its own.
                Tensor queries = mirror.Up(query);
                mirror.Gpu.PrepareLatents(queries, mirror.Up(latent), how, shape, there, where);
                mirror.Gpu.LatentAttention(actual, queries, there, gpu, where, shape);
            }
            mirror.Naive.PrepareLatents(query, latent, new LatentPreparation(gain, 1e-5f, table, interleaved), shape, cache, batch);
            mirror.Naive.LatentAttention(expected, query, cache, naive, batch, shape);
            mirror.Near(expected, actual, type == ElementType.BF16 ? 1e-2 : 1e-4, $"{shape}, decode {decode}");
            mirror.Near(cache, there, type == ElementType.BF16 ? 1e-2 : 1e-5, "the cache");
        }
    }
}
