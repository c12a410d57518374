using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Kernels.Tests.Cuda;

/// <summary>Host tensors for the naive twin and their copies on the GPU.</summary>
internal sealed unsafe class Mirror : IDisposable
{
    private readonly Arena arena;
    private readonly List<Weight> weights = [];
    private Backend? beside;

    public Mirror(int seed, CudaBackend gpu)
    {
        Host = new Bench(seed, threads: 1);
        Gpu = gpu;
        arena = gpu.CreateArena(64 << 20);
    }

    public Bench Host { get; }

    public NaiveBackend Naive => Host.Naive;

    public CudaBackend Gpu { get; }

    /// <summary>Another on the same GPU, for what is made while the first works.</summary>
    public Backend Beside => beside ??= Gpu.Beside();

    /// <summary>A copy on the GPU, rows one behind the other.</summary>
    public Tensor Up(Tensor host)
    {
        if (host.IsEmpty)
            return host;
        Tensor device = arena.Allocate(host.Type, host.Rows, host.Columns);
        for (int row = 0; row < host.Rows; row++)
            Gpu.Upload(device.Slice(row, 1), Bytes(host.Slice(row, 1)));
        return device;
    }

    public PagedBatch Up(PagedBatch host) =>
        new(Up(host.Positions), Up(host.QueryStarts), Up(host.Contexts), Up(host.Blocks), host.BlockSize);

    /// <summary>Room for a result, full of NaN, so that what is not written shows.</summary>
    public Tensor Poisoned(int rows, int columns)
    {
        Tensor device = arena.Allocate(ElementType.F32, rows, columns);
        float[] values = new float[rows * columns];
        Array.Fill(values, float.NaN);
        Gpu.Upload<float>(device, values);
        return device;
    }

    public Tensor Down(Tensor device)
    {
        Tensor host = Host.Empty(device.Rows, device.Columns, device.Type);
        Span<byte> bytes = new((byte*)host.Address, (int)host.Type.Bytes((long)host.Rows * host.Columns));
        Gpu.Download(device, bytes);
        return host;
    }

    /// <summary>A random weight in the source type, on the GPU and for the twin.</summary>
    public (Weight Gpu, Weight Naive) Weight(ElementType type, int groups, int rows, int columns, ElementType? target = null, Backend? maker = null)
    {
        int first = groups * rows / 3;
        WeightSource source = new(type, columns, groups, [Host.Piece(type, first, columns), Host.Piece(type, groups * rows - first, columns)]);
        Weight gpu = (maker ?? Gpu).Prepare(source, target ?? type), naive = Naive.Prepare(source, target ?? type);
        weights.Add(gpu);
        weights.Add(naive);
        return (gpu, naive);
    }

    /// <summary>‖device − expected‖ is at most <paramref name="tolerance"/> of ‖expected‖.</summary>
    public void Near(Tensor expected, Tensor device, double tolerance, string what)
    {
        Tensor actual = Down(device);
        double difference = 0, size = 1e-30;
        for (int row = 0; row < expected.Rows; row++)
        {
            for (int i = 0; i < expected.Columns; i++)
            {
                double value = expected.Get(row, i), error = actual.Get(row, i) - value;
                Assert.True(double.IsFinite(error), $"{what}: [{row}, {i}] is {actual.Get(row, i)} instead of {value}");
                difference += error * error;
                size += value * value;
            }
        }
        Assert.True(Math.Sqrt(difference / size) <= tolerance, $"{what}: off by {Math.Sqrt(difference / size)}");
    }

    public void Dispose()
    {
        Gpu.Synchronize();
        foreach (Weight weight in weights)
            weight.Dispose();
        beside?.Dispose();
        arena.Dispose();
        Host.Dispose();
    }

    private static ReadOnlySpan<byte> Bytes(Tensor row) => new((byte*)row.Address, (int)row.Type.Bytes(row.Columns));
}
