namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    /// <summary>Seconds that some operations take on the GPU, launch overhead of the host excluded: recorded once, replayed and timed by events.</summary>
    /// <param name="operations">Calls the operations; they run a few times before.</param>
    /// <param name="rounds">Replays; the median counts.</param>
    public double Measure(Action operations, int rounds)
    {
        driver.Enter();
        operations();
        operations();
        Synchronize();
        nint graph = Record(operations);
        try
        {
            return Replays(graph, rounds);
        }
        finally
        {
            driver.DestroyGraph(graph);
        }
    }

    /// <summary>Seconds that each recorded step takes on the GPU, by its shape. Only between steps.</summary>
    public IReadOnlyList<(long Shape, double Seconds)> TimeGraphs()
    {
        driver.Enter();
        Synchronize();
        return [.. graphs.Where(graph => graph.Value != 0).OrderBy(graph => graph.Key).Select(graph => (graph.Key, Replays(graph.Value, 21)))];
    }

    /// <summary>Bytes per second of a copy on the GPU, read and written bytes counted, and operations per second of a large bfloat16 product.</summary>
    public (double Bandwidth, double Rate) Ceilings(int rounds)
    {
        const long Bytes = 2L << 30;
        const int Side = 8192;
        driver.Enter();
        using DeviceBuffer from = new(driver, Bytes, "a copy"), to = new(driver, Bytes, "a copy");
        driver.Clear(from.Address, Bytes, stream);
        double copy = Measure(() => driver.CopyAcross(to.Address, from.Address, Bytes, stream), rounds);
        if (dense is null)
            return (2 * Bytes / copy, 0);
        using Weight left = Random(Side), right = Random(Side);
        using DeviceBuffer output = new(driver, 4L * Side * Side, "a product");
        Tensor product = new(output.Address, ElementType.F32, Side, Side, Side);
        double seconds = Measure(() => dense.TryRun(product, View(left).Values, 0, View(right).Values, Side, Side, Side), rounds);
        return (2 * Bytes / copy, 2.0 * Side * Side * Side / seconds);

        Weight Random(int side) => Prepare(new WeightSource(ElementType.BF16, side, 1, [new WeightPiece(0, side, Seed: 1)]), ElementType.BF16);
    }

    private double Replays(nint graph, int rounds)
    {
        nint start = driver.CreateEvent(timed: true), end = driver.CreateEvent(timed: true);
        double[] seconds = new double[rounds];
        for (int round = -3; round < rounds; round++)
        {
            driver.Record(start, stream);
            driver.LaunchGraph(graph, stream);
            driver.Record(end, stream);
            driver.Await(end, "a measurement");
            if (round >= 0)
                seconds[round] = driver.Elapsed(start, end) / 1000;
        }
        driver.DestroyEvent(start);
        driver.DestroyEvent(end);
        Array.Sort(seconds);
        return seconds[rounds / 2];
    }
}
