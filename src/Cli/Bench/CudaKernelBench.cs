using XDeepServe.Kernels;
using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Cli.Bench;

/// <summary>Measures single operations on a GPU and prints them beside what its memory and its matrix units allow.</summary>
/// <param name="gpu">Stays the caller's.</param>
/// <param name="rounds">Rounds of each measurement; the median counts.</param>
internal sealed class CudaKernelBench(CudaBackend gpu, int rounds)
{
    private const int BlockSize = 16;
    private const long Cold = 400L << 20; // weights of this many bytes are gone from the cache when they are read again
    private double bandwidth, rate;

    /// <summary>Measures everything.</summary>
    public void Run()
    {
        (bandwidth, rate) = gpu.Ceilings(rounds);
        Console.WriteLine(gpu.Description);
        Console.WriteLine($"copy on the GPU {bandwidth / 1e12:F2} TB/s (read and written), bfloat16 product 8192 x 8192 x 8192 {rate / 1e12:F0} TFLOP/s");
        Console.WriteLine($"{"operation",-58}{"MB",9}{"GFLOP",9}{"us",9}{"of copy",9}{"of rate",9}");
        foreach (ElementType type in new[] { ElementType.BF16, ElementType.Q8_0, ElementType.F8 })
        {
            foreach ((int rows, int columns) in new[] { (5120, 2048), (2048, 4096), (151936, 2048) })
                foreach (int tokens in new[] { 1, 10, 32 })
                    Linear(type, rows, columns, tokens);
            foreach (int tokens in new[] { 1, 10, 64 })
                Experts(type, tokens, 128, 768, 8);
        }
        Linear(ElementType.BF16, 5120, 2048, 4096);
        Linear(ElementType.BF16, 8192, 8192, 4096);
        Linear(ElementType.F8, 8192, 8192, 4096);
        foreach (ElementType type in new[] { ElementType.BF16, ElementType.Q8_0, ElementType.F8 })
            Experts(type, 2048, 128, 768, 8);
        foreach ((int sequences, int rows, int context) in new[] { (1, 1, 512), (1, 1, 4096), (1, 1, 32768), (10, 1, 2560), (64, 1, 4096), (1, 2048, 2048) })
            Attention(sequences, rows, context);
        foreach ((int heads, int sequences, int rows, int context) in new[] { (16, 1, 1, 4096), (16, 10, 1, 2560), (16, 64, 1, 4096), (128, 16, 1, 4096), (16, 1, 512, 2048) })
            Latent(heads, sequences, rows, context);
        Small();
    }

    private void Linear(ElementType type, int rows, int columns, int tokens)
    {
        using Arena arena = gpu.CreateArena(64 + (long)tokens * (rows + columns) * 4 + 1024);
        long bytes = type.Bytes((long)rows * columns);
        Weight[] weights = Copies(bytes, seed => Random(type, 1, rows, columns, seed));
        Tensor input = Fill(arena, tokens, columns), output = arena.Allocate(ElementType.F32, tokens, rows);
        double seconds = gpu.Measure(() => Array.ForEach(weights, weight => gpu.Linear(output, input, weight)), rounds) / weights.Length;
        Report($"linear {type} [{rows}, {columns}], {tokens} tokens", bytes + 4L * tokens * (rows + columns), 2.0 * tokens * rows * columns, seconds);
        Array.ForEach(weights, weight => weight.Dispose());
    }

    private void Experts(ElementType type, int tokens, int experts, int width, int topK)
    {
        const int Hidden = 2048;
        int pairs = tokens * topK;
        using Arena arena = gpu.CreateArena(4096 + 4L * (tokens * Hidden + pairs * (3L * width + Hidden + 1)));
        Tensor input = Fill(arena, tokens, Hidden), both = arena.Allocate(ElementType.F32, pairs, 2 * width), gated = arena.Allocate(ElementType.F32, pairs, width);
        Tensor output = arena.Allocate(ElementType.F32, pairs, Hidden), ids = arena.Allocate(ElementType.I32, tokens, topK);
        Random random = new(1);
        int[] chosen = [.. Enumerable.Range(0, tokens).SelectMany(_ => Enumerable.Range(0, experts).OrderBy(_ => random.Next()).Take(topK))];
        gpu.Upload<int>(ids, chosen);
        int distinct = chosen.Distinct().Count();
        long bytes = distinct * type.Bytes(3L * width * Hidden);
        Weight[] up = Copies(bytes, seed => Random(type, experts, 2 * width, Hidden, seed)), down = Copies(bytes, seed => Random(type, experts, Hidden, width, seed));
        double seconds = gpu.Measure(() =>
        {
            for (int i = 0; i < up.Length; i++)
            {
                gpu.GroupedSwiGlu(gated, both, input, up[i], ids);
                gpu.GroupedLinear(output, gated, down[i], ids);
            }
        }, rounds) / up.Length;
        Report($"experts {type} {distinct} of {experts}, {tokens} tokens", bytes, 6.0 * pairs * width * Hidden, seconds);
        Array.ForEach(up, weight => weight.Dispose());
        Array.ForEach(down, weight => weight.Dispose());
    }

    private void Attention(int sequences, int rows, int context)
    {
        const int Heads = 32, CacheHeads = 4, Width = 128;
        long bytes = 2L * sequences * context * CacheHeads * Width * 2;
        int copies = (int)Math.Clamp(Cold / bytes, 1, 64), blocks = sequences * context / BlockSize;
        using Arena arena = gpu.CreateArena(bytes * copies + (8L << 20) + 8L * sequences * rows * Heads * Width + 4L * blocks);
        Tensor[] keys = new Tensor[copies], values = new Tensor[copies];
        for (int i = 0; i < copies; i++)
            (keys[i], values[i]) = (Cache(arena, blocks, CacheHeads * Width), Cache(arena, blocks, CacheHeads * Width));
        PagedBatch batch = Batch(arena, sequences, rows, context);
        Tensor query = Fill(arena, sequences * rows, Heads * Width), output = arena.Allocate(ElementType.F32, sequences * rows, Heads * Width);
        double seconds = gpu.Measure(() =>
        {
            for (int i = 0; i < copies; i++)
                gpu.PagedAttention(output, query, keys[i], values[i], batch, Heads, CacheHeads, 0.09f);
        }, rounds) / copies;
        double pairs = sequences * ((double)rows * context - rows * (rows - 1.0) / 2);
        Report($"attention {Heads}/{CacheHeads} x {Width}, {sequences} x {rows} rows at {context}", bytes, 4 * pairs * Heads * Width, seconds);
    }

    private void Latent(int heads, int sequences, int rows, int context)
    {
        LatentShape shape = new(heads, 128, 64, 128, 512, 0.07f);
        int width = shape.Rank + shape.Rope;
        long bytes = 2L * sequences * context * width;
        int copies = (int)Math.Clamp(Cold / bytes, 1, 64), blocks = sequences * context / BlockSize, tokens = sequences * rows;
        using Arena arena = gpu.CreateArena(bytes * copies + (8L << 20) + 8L * tokens * heads * 192 + 4L * blocks);
        Tensor[] latents = [.. Enumerable.Range(0, copies).Select(_ => Cache(arena, blocks, width))];
        using Weight expand = Random(ElementType.BF16, 1, heads * (shape.Plain + shape.Value), shape.Rank, 1);
        PagedBatch batch = Batch(arena, sequences, rows, context);
        Tensor query = Fill(arena, tokens, heads * (shape.Plain + shape.Rope)), output = arena.Allocate(ElementType.F32, tokens, heads * shape.Value);
        double seconds = gpu.Measure(() =>
        {
            for (int i = 0; i < copies; i++)
                gpu.LatentAttention(output, query, latents[i], expand, batch, shape);
        }, rounds) / copies;
        double pairs = sequences * ((double)rows * context - rows * (rows - 1.0) / 2);
        Report($"latent attention {heads} heads, {sequences} x {rows} rows at {context}", bytes + expand.Bytes, 2 * pairs * heads * (2 * shape.Rank + shape.Rope), seconds);
    }

    private void Small()
    {
        const int Hidden = 2048, Vocabulary = 151936;
        using Arena arena = gpu.CreateArena(64L << 20);
        Tensor stream = Fill(arena, 10, Hidden), delta = Fill(arena, 10, Hidden), normed = arena.Allocate(ElementType.F32, 10, Hidden), gain = Fill(arena, 1, Hidden);
        Report("add and norm, 10 tokens", 16L * 10 * Hidden, 0, gpu.Measure(() => Many(() => gpu.AddRmsNorm(normed, stream, delta, gain, 1e-6f)), rounds) / 20);
        Tensor logits = Fill(arena, 10, 128), ids = arena.Allocate(ElementType.I32, 10, 8), gates = arena.Allocate(ElementType.F32, 10, 8);
        RoutingRule rule = new(8, false, 1, 1, true, 1);
        Report("route 8 of 128, 10 tokens", 4L * 10 * 128, 0, gpu.Measure(() => Many(() => gpu.Route(ids, gates, logits, default, rule)), rounds) / 20);
        Tensor scores = Fill(arena, 10, Vocabulary), token = arena.Allocate(ElementType.I32, 10, 1), zeros = arena.Allocate(ElementType.I32, 11, 1);
        Tensor reals = arena.Allocate(ElementType.F32, 10, 6), integers = arena.Allocate(ElementType.I32, 10, 5), table = arena.Allocate(ElementType.I32, 10, 8);
        SamplingBatch batch = new(zeros.Take(10), zeros.Take(10), zeros.Take(10), table, reals, integers, zeros, zeros, gain);
        foreach ((string name, float temperature, float topP, int topK) in new[] { ("greedy", 0f, 1f, 0), ("temperature", 1f, 1f, 0), ("top-p 0.9", 1f, 0.9f, 0), ("top-k 40", 1f, 1f, 40) })
        {
            gpu.Upload<float>(reals, [.. Enumerable.Range(0, 10).SelectMany(_ => new float[] { temperature, topP, 0, 1, 0, 0 })]);
            gpu.Upload<int>(integers, [.. Enumerable.Range(0, 10).SelectMany(_ => new[] { topK, 1, 2, 3, 0 })]);
            Report($"sample {name}, 10 rows of {Vocabulary}", 40L * Vocabulary, 0, gpu.Measure(() => gpu.Sample(token, scores, batch), rounds));
        }
    }

    private static void Many(Action action)
    {
        for (int i = 0; i < 20; i++)
            action();
    }

    private void Report(string name, long bytes, double operations, double seconds) => Console.WriteLine(
        $"{name,-58}{bytes / 1e6,9:F1}{operations / 1e9,9:F1}{seconds * 1e6,9:F1}{bytes / seconds / bandwidth,9:P0}{(rate > 0 ? operations / seconds / rate : 0),9:P0}");

    private static Weight[] Copies(long bytes, Func<ulong, Weight> make) =>
        [.. Enumerable.Range(1, (int)Math.Clamp(Cold / bytes, 1, 24)).Select(seed => make((ulong)seed))];

    private Weight Random(ElementType type, int groups, int rows, int columns, ulong seed) => type == ElementType.F8
        ? Floats(groups, rows, columns, seed)
        : gpu.Prepare(new WeightSource(ElementType.BF16, columns, groups, [new WeightPiece(0, groups * rows, Seed: seed)]), type);

    /// <summary>Random 8-bit floats as a file would hold them; every group the same.</summary>
    private unsafe Weight Floats(int groups, int rows, int columns, ulong seed)
    {
        byte[] values = new byte[rows * columns];
        new Random((int)seed).NextBytes(values);
        for (int i = 0; i < values.Length; i++)
            values[i] &= 0xBF; // below 2, and a number
        float[] factors = new float[ElementType.F8.Factors(rows, columns)];
        Array.Fill(factors, 0.01f);
        fixed (byte* from = values)
        {
            fixed (float* scales = factors)
            {
                WeightPiece piece = new((nint)from, rows, null, (nint)scales);
                Weight weight = gpu.Prepare(new WeightSource(ElementType.F8, columns, groups, [.. Enumerable.Repeat(piece, groups)]), ElementType.F8);
                gpu.Synchronize();
                return weight;
            }
        }
    }

    private Tensor Cache(Arena arena, int blocks, int width)
    {
        Tensor cache = arena.Allocate(ElementType.BF16, blocks, BlockSize * width);
        ushort[] block = new ushort[BlockSize * width];
        Random random = new(blocks);
        for (int i = 0; i < block.Length; i++)
            block[i] = BFloat16.FromSingle(random.NextSingle() - 0.5f);
        for (int i = 0; i < blocks; i++)
            gpu.Upload<ushort>(cache.Slice(i, 1), block);
        return cache;
    }

    private PagedBatch Batch(Arena arena, int sequences, int rows, int context)
    {
        int perSequence = context / BlockSize;
        return new PagedBatch(
            Integers(arena, Enumerable.Range(0, sequences * rows).Select(row => context - rows + row % rows)),
            Integers(arena, Enumerable.Range(0, sequences + 1).Select(sequence => sequence * rows)),
            Integers(arena, Enumerable.Repeat(context, sequences)),
            Integers(arena, Enumerable.Range(0, sequences * perSequence)) is var table ? new Tensor(table.Address, ElementType.I32, sequences, perSequence, perSequence) : default, BlockSize);
    }

    private Tensor Integers(Arena arena, IEnumerable<int> values)
    {
        int[] all = [.. values];
        Tensor tensor = arena.Allocate(ElementType.I32, all.Length, 1);
        gpu.Upload<int>(tensor, all);
        return tensor;
    }

    private Tensor Fill(Arena arena, int rows, int columns)
    {
        Random random = new(rows);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
            values[i] = random.NextSingle() - 0.5f;
        Tensor tensor = arena.Allocate(ElementType.F32, rows, columns);
        gpu.Upload<float>(tensor, values);
        return tensor;
    }
}
