using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Cli.Bench;

/// <summary>Measures single operations of a backend and prints them.</summary>
/// <param name="backend">Stays the caller's.</param>
/// <param name="arena">Memory for inputs and outputs.</param>
/// <param name="repeats">Rounds of each measurement; the median counts.</param>
internal sealed unsafe class KernelBench(CpuBackend backend, Arena arena, int repeats)
{
    private const int BlockSize = 16;

    /// <summary>Measures everything.</summary>
    public void Run()
    {
        Console.WriteLine(backend.Description);
        double floor = ReadBandwidth();
        Console.WriteLine($"{"memory, read by all threads",-44}{floor / 1e9,10:F1} GB/s");
        foreach (ElementType type in Enum.GetValues<ElementType>().Where(type => type != ElementType.I32))
            Products(type, floor);
        Attention(floor);
        Latent(floor);
        Sampling();
    }

    /// <summary>Bytes per second of a sum over more memory than any cache holds.</summary>
    private double ReadBandwidth()
    {
        const long Bytes = 512 << 20;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)Bytes, 64);
        NativeMemory.Fill(memory, (nuint)Bytes, 1);
        using WorkerPool pool = new(backend.Threads);
        long[] sums = new long[256];
        double seconds = Median(() => pool.Run(256, new Reading(memory, Bytes / 256, sums)));
        NativeMemory.AlignedFree(memory);
        return Bytes / seconds;
    }

    private void Products(ElementType type, double floor)
    {
        const int Rows = 6144, Columns = 4096;
        long bytes = type.Bytes((long)Rows * Columns);
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);
        float[] factors = [.. Enumerable.Repeat(1e-3f, (int)type.Factors(Rows, Columns) + 1)];
        // Bytes of 0x11 are small, finite numbers in every type.
        NativeMemory.Fill(memory, (nuint)bytes, 0x11);
        fixed (float* factorStart = factors)
        {
            using Weight weight = backend.Prepare(new WeightSource(type, Columns, 1, [new WeightPiece((nint)memory, Rows, null, (nint)factorStart)]), type);
            foreach (int tokens in new[] { 1, 8, 128 })
            {
                Tensor input = Fill(tokens, Columns), output = arena.Allocate(ElementType.F32, tokens, Rows);
                double seconds = Median(() => backend.Linear(output, input, weight));
                string share = tokens == 1 ? $"{bytes / seconds / 1e9,10:F1} GB/s {bytes / seconds / floor,6:P0} of memory" : "";
                Console.WriteLine($"{$"linear {type} [{Rows}, {Columns}], {tokens} tokens",-44}{2.0 * tokens * Rows * Columns / seconds / 1e9,10:F0} GOP/s {share}");
            }
        }
        NativeMemory.AlignedFree(memory);
    }

    private void Attention(double floor)
    {
        const int Heads = 16, CacheHeads = 8, Width = 128;
        foreach ((int rows, int context) in new[] { (1, 4096), (128, 1024) })
        {
            PagedBatch batch = Batch(rows, context);
            (Tensor keys, Tensor values) = (Fill(context / BlockSize, CacheHeads * BlockSize * Width), Fill(context / BlockSize, CacheHeads * BlockSize * Width));
            Tensor query = Fill(rows, Heads * Width), output = arena.Allocate(ElementType.F32, rows, Heads * Width);
            double seconds = Median(() => backend.PagedAttention(output, query, keys, values, batch, Heads, CacheHeads, 0.09f));
            Report($"attention 16/8 x 128, {rows} rows, context {context}", 2L * context * CacheHeads * Width * 4, 4.0 * rows * context * Heads * Width, seconds, floor);
        }
    }

    private void Latent(double floor)
    {
        Latent(new LatentShape(16, 128, 64, 128, 512, 0.07f), floor, (1, 4096), (128, 1024), (512, 512), (512, 2048));
        Latent(new LatentShape(6, 64, 32, 64, 128, 0.1f), floor, (1, 1024), (24, 512), (512, 512), (512, 2048));
    }

    private void Latent(LatentShape shape, double floor, params ReadOnlySpan<(int Rows, int Context)> sizes)
    {
        Tensor expansion = Fill(shape.Heads * (shape.Plain + shape.Value), shape.Rank);
        using Weight expand = backend.Prepare(new WeightSource(ElementType.F32, shape.Rank, 1, [new WeightPiece(expansion.Address, expansion.Rows)]), ElementType.F32);
        foreach ((int rows, int context) in sizes)
        {
            PagedBatch batch = Batch(rows, context);
            Tensor latents = Fill(context / BlockSize, BlockSize * (shape.Rank + shape.Rope));
            Tensor query = Fill(rows, shape.Heads * (shape.Plain + shape.Rope)), output = arena.Allocate(ElementType.F32, rows, shape.Heads * shape.Value);
            double seconds = Median(() => backend.LatentAttention(output, query, latents, expand, batch, shape));
            // A row sees the positions before it and itself; its query and its sums cross the expansion once.
            double pairs = rows * (context - (rows - 1) / 2.0), projections = (double)rows * shape.Rank * (shape.Plain + shape.Value);
            Report(
                $"latent attention {shape.Heads} x {shape.Plain}+{shape.Rope}/{shape.Rank}, {rows} rows, context {context}, {seconds * 1e3:F1} ms",
                (long)context * (shape.Rank + shape.Rope) * 4, 2.0 * shape.Heads * (pairs * (2 * shape.Rank + shape.Rope) + projections), seconds, floor);
        }
    }

    private void Sampling()
    {
        const int Vocabulary = 151936;
        Tensor logits = Fill(1, Vocabulary), id = Integers(0), reals = arena.Allocate(ElementType.F32, 1, 6), integers = arena.Allocate(ElementType.I32, 1, 5);
        SamplingBatch batch = new(Integers(0), Integers(1), Integers(1), arena.Allocate(ElementType.I32, 1, 8), reals, integers, arena.Allocate(ElementType.I32, 2, 1), Integers(0), Fill(1, 1));
        foreach ((string name, float temperature, float topP, int topK) in new[] { ("greedy", 0f, 1f, 0), ("temperature", 1f, 1f, 0), ("top-p 0.9", 1f, 0.9f, 0), ("top-k 40", 1f, 1f, 40) })
        {
            backend.Upload<float>(reals, [temperature, topP, 0, 1, 0, 0]);
            backend.Upload<int>(integers, [topK, 1, 2, 3, 0]);
            Console.WriteLine($"{$"sample {name}, vocabulary {Vocabulary}",-44}{Median(() => backend.Sample(id, logits, batch)) * 1e6,10:F0} us");
        }
    }

    private static void Report(string name, long bytes, double operations, double seconds, double floor) =>
        Console.WriteLine($"{name,-64}{operations / seconds / 1e9,8:F0} GFLOP/s {bytes / seconds / 1e9,8:F1} GB/s {bytes / seconds / floor,6:P0} of memory");

    private PagedBatch Batch(int rows, int context)
    {
        int blocks = context / BlockSize;
        Tensor table = arena.Allocate(ElementType.I32, 1, blocks);
        backend.Upload<int>(table, [.. Enumerable.Range(0, blocks)]);
        return new PagedBatch(Integers([.. Enumerable.Range(context - rows, rows)]), Integers(0, rows), Integers(context), table, BlockSize);
    }

    private Tensor Integers(params ReadOnlySpan<int> values)
    {
        Tensor tensor = arena.Allocate(ElementType.I32, values.Length, 1);
        backend.Upload(tensor, values);
        return tensor;
    }

    private Tensor Fill(int rows, int columns)
    {
        Random random = new(rows);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
            values[i] = random.NextSingle() - 0.5f;
        Tensor tensor = arena.Allocate(ElementType.F32, rows, columns);
        backend.Upload<float>(tensor, values);
        return tensor;
    }

    private double Median(Action work)
    {
        work();
        work();
        List<double> seconds = [];
        for (int i = 0; i < repeats; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new Summary(seconds).Median;
    }

    private readonly struct Reading(byte* memory, long length, long[] sums) : IPoolWork
    {
        public void Execute(int part, int worker)
        {
            Vector512<long> sum = default;
            byte* start = memory + part * length;
            for (long i = 0; i < length; i += 64)
                sum += Vector512.Load((long*)(start + i));
            sums[part] = Vector512.Sum(sum);
        }
    }
}
