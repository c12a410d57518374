using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

/// <summary>Memory, random values and comparisons for tests that run one operation on two backends.</summary>
internal sealed unsafe class Bench : IDisposable
{
    private const long ArenaBytes = 1 << 20; // or as much as a tensor needs: memory is cleared, and most tests want little
    private readonly Stack<Arena> arenas = new();
    private readonly List<Weight> weights = [];

    public Bench(int seed, CpuPath path = CpuPath.Auto, int threads = 2)
    {
        Random = new Random(seed);
        Cpu = new CpuBackend(new CpuOptions(threads, path));
    }

    public static TheoryData<CpuPath> Paths
    {
        get
        {
            TheoryData<CpuPath> paths = [CpuPath.Portable];
            if (System.Runtime.Intrinsics.X86.Avx2.IsSupported)
                paths.Add(CpuPath.Avx2);
            if (System.Runtime.Intrinsics.X86.Avx512BW.IsSupported)
                paths.Add(CpuPath.Avx512);
            return paths;
        }
    }

    public Random Random { get; }

    public NaiveBackend Naive { get; } = new();

    public CpuBackend Cpu { get; }

    public Tensor Empty(int rows, int columns, ElementType type = ElementType.F32)
    {
        long need = Arena.BytesFor(type, rows, columns);
        if (!arenas.TryPeek(out Arena? arena) || arena.Used + need > arena.Bytes)
            arenas.Push(arena = Naive.CreateArena(Math.Max(need, ArenaBytes)));
        return arena.Allocate(type, rows, columns);
    }

    public Tensor Normal(int rows, int columns, ElementType type = ElementType.F32, float scale = 1)
    {
        Tensor tensor = Empty(rows, columns, type);
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < columns; i++)
                tensor.Set(row, i, Normal() * scale);
        return tensor;
    }

    public Tensor Integers(params ReadOnlySpan<int> values)
    {
        Tensor tensor = Empty(values.Length, 1, ElementType.I32);
        Naive.Upload(tensor, values);
        return tensor;
    }

    public Tensor Copy(Tensor source)
    {
        Tensor copy = Empty(source.Rows, source.Columns, source.Type);
        for (int row = 0; row < source.Rows; row++)
            new ReadOnlySpan<byte>((byte*)source.Slice(row, 1).Address, (int)source.Type.Bytes(source.Columns))
                .CopyTo(new Span<byte>((byte*)copy.Slice(row, 1).Address, (int)source.Type.Bytes(source.Columns)));
        return copy;
    }

    public double Normal() => Math.Sqrt(-2 * Math.Log(1 - Random.NextDouble())) * Math.Cos(2 * Math.PI * Random.NextDouble());

    /// <summary>Types that a weight can have.</summary>
    public static IReadOnlyList<ElementType> WeightTypes { get; } = [.. Enum.GetValues<ElementType>().Where(type => type != ElementType.I32)];

    /// <summary>A random weight in the source type, as each backend holds it.</summary>
    public (Weight Cpu, Weight Naive) Weight(ElementType type, int groups, int rows, int columns, ElementType? target = null)
    {
        int first = groups * rows / 3;
        WeightSource source = new(type, columns, groups, [Piece(type, first, columns), Piece(type, groups * rows - first, columns)]);
        Weight cpu = Cpu.Prepare(source, target ?? type), naive = Naive.Prepare(source, target ?? type);
        weights.Add(cpu);
        weights.Add(naive);
        return (cpu, naive);
    }

    /// <summary>Random matrices, each in two pieces, as each backend holds them.</summary>
    public (Weight Cpu, Weight Naive) Matrices(ElementType type, int groups, int rows, int columns, ElementType target)
    {
        WeightSource source = new(type, columns, groups, [.. Enumerable.Range(0, 2 * groups).Select(i => Piece(type, i % 2 == 0 ? rows / 3 : rows - (rows / 3), columns))]);
        Weight cpu = Cpu.Prepare(source, target), naive = Naive.Prepare(source, target);
        weights.Add(cpu);
        weights.Add(naive);
        return (cpu, naive);
    }

    /// <summary>Random rows in a type. What cannot be written is made of random bytes behind sane scales.</summary>
    public WeightPiece Piece(ElementType type, int rows, int columns)
    {
        int bytes = (int)type.Bytes((long)rows * columns);
        int factorCount = (int)type.Factors(rows, columns);
        Tensor memory = Empty(1, bytes / 4 + 1), factors = Empty(1, Math.Max(1, factorCount));
        Span<byte> stored = new((byte*)memory.Address, bytes);
        Span<float> factorSpan = new((float*)factors.Address, factorCount);
        if (!Quantization.CanStore(type))
        {
            Random.NextBytes(stored);
            (int length, int block) = type.Block();
            for (int at = 0; at < bytes; at += block)
                foreach (int scale in type == ElementType.Q6_K ? new[] { 208 } : new[] { 0, 2 })
                    System.Buffers.Binary.BinaryPrimitives.WriteHalfLittleEndian(stored[(at + scale)..], (Half)(Random.NextSingle() / 3000));
            return new WeightPiece(memory.Address, rows, null, factors.Address);
        }
        float[] values = [.. Enumerable.Range(0, rows * columns).Select(_ => (float)Normal() / MathF.Sqrt(columns))];
        int height = type == ElementType.F8 ? ElementTypes.SquareLength : 1;
        for (int row = 0; row < rows; row += height)
        {
            ReadOnlySpan<float> band = values.AsSpan(row * columns, Math.Min(height, rows - row) * columns);
            (long firstFactor, int count) = type.FactorsOf(row, columns);
            Span<byte> target = stored.Slice((int)type.Bytes((long)row * columns), (int)type.Bytes(band.Length));
            if (type == ElementType.F8)
                Float8.Quantise(band, columns, target, factorSpan.Slice((int)firstFactor, count));
            else
                Quantization.Store(type, band, target, factorSpan.Slice((int)firstFactor, count));
        }
        return new WeightPiece(memory.Address, rows, null, factors.Address);
    }

    public static void Close(Tensor expected, Tensor actual, double tolerance)
    {
        double largest = 1e-6;
        for (int row = 0; row < expected.Rows; row++)
            for (int i = 0; i < expected.Columns; i++)
                largest = Math.Max(largest, Math.Abs(expected.Get(row, i)));
        for (int row = 0; row < expected.Rows; row++)
            for (int i = 0; i < expected.Columns; i++)
                if (!(Math.Abs(expected.Get(row, i) - actual.Get(row, i)) <= tolerance * largest))
                    Assert.Fail($"[{row}, {i}]: {actual.Get(row, i)} instead of {expected.Get(row, i)} (largest {largest}).");
    }

    public static void Same(Tensor expected, Tensor actual)
    {
        for (int row = 0; row < expected.Rows; row++)
            Assert.Equal(
                new ReadOnlySpan<byte>((byte*)expected.Slice(row, 1).Address, (int)expected.Type.Bytes(expected.Columns)),
                new ReadOnlySpan<byte>((byte*)actual.Slice(row, 1).Address, (int)actual.Type.Bytes(actual.Columns)));
    }

    public void Dispose()
    {
        foreach (Weight weight in weights)
            weight.Dispose();
        while (arenas.TryPop(out Arena? arena))
            arena.Dispose();
        Cpu.Dispose();
        Naive.Dispose();
    }
}
