using XDeepServe.Kernels.Cpu;

namespace XDeepServe.Kernels.Tests;

/// <summary>Memory, random values and comparisons for tests that run one operation on two backends.</summary>
internal sealed unsafe class Bench : IDisposable
{
    private readonly Arena arena;
    private readonly List<Weight> weights = [];

    public Bench(int seed, CpuPath path = CpuPath.Auto, int threads = 2)
    {
        Random = new Random(seed);
        Cpu = new CpuBackend(new CpuOptions(threads, path));
        arena = Naive.CreateArena(64 << 20);
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

    public Tensor Empty(int rows, int columns, ElementType type = ElementType.F32) => arena.Allocate(type, rows, columns);

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

    /// <summary>A random weight in the source type, as each backend holds it.</summary>
    public (Weight Cpu, Weight Naive) Weight(ElementType type, int groups, int rows, int columns, ElementType? target = null)
    {
        Tensor values = Normal(groups * rows, columns, scale: 1 / MathF.Sqrt(columns));
        nint address = values.Address;
        if (type != ElementType.F32)
        {
            Tensor stored = Empty(groups * rows, columns * 2, ElementType.BF16);
            ReadOnlySpan<float> singles = new((float*)values.Address, groups * rows * columns);
            if (type == ElementType.BF16)
                BFloat16.FromSingle(singles, new Span<ushort>((ushort*)stored.Address, singles.Length));
            else if (type == ElementType.F16)
                Quantization.ToHalf(singles, new Span<Half>((Half*)stored.Address, singles.Length));
            else
                Quantization.ToQ8_0(singles, new Span<byte>((byte*)stored.Address, (int)type.Bytes(singles.Length)));
            address = stored.Address;
        }
        int first = groups * rows / 3;
        WeightSource source = new(type, columns, groups,
            [new WeightPiece(address, first), new WeightPiece(address + (nint)type.Bytes((long)first * columns), groups * rows - first)]);
        Weight cpu = Cpu.Prepare(source, target ?? type), naive = Naive.Prepare(source, target ?? type);
        weights.Add(cpu);
        weights.Add(naive);
        return (cpu, naive);
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
        arena.Dispose();
        Cpu.Dispose();
        Naive.Dispose();
    }
}
