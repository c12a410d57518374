namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private List<(long Shape, nint Start, nint End)>? watched; // events around recorded steps, while they are watched

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

    /// <summary>From now on times recorded steps as they run, until <see cref="WatchedSteps"/> is asked. Only between steps.</summary>
    public void WatchSteps() => watched ??= [];

    /// <summary>
    /// Medians of the recorded steps since <see cref="WatchSteps"/>, by shape: how many there were, the seconds of a step on the GPU, and those
    /// between its end and the start of the next, in which the GPU waits for the host or does something else. Only between steps.
    /// </summary>
    public IReadOnlyList<(long Shape, int Steps, double Seconds, double Gap)> WatchedSteps()
    {
        driver.Enter();
        Synchronize();
        List<(long Shape, nint Start, nint End)> steps = watched ?? [];
        watched = null;
        var shapes = steps.Zip(steps.Skip(1).Append(steps.LastOrDefault())).GroupBy(pair => pair.First.Shape).OrderBy(group => group.Key).Select(group => (
            group.Key,
            group.Count(),
            Median(group.Select(pair => driver.Elapsed(pair.First.Start, pair.First.End))),
            Median(group.Where(pair => pair.Second != pair.First).Select(pair => driver.Elapsed(pair.First.End, pair.Second.Start))))).ToArray();
        foreach ((_, nint start, nint end) in steps)
        {
            driver.DestroyEvent(start);
            driver.DestroyEvent(end);
        }
        return shapes;

        static double Median(IEnumerable<float> milliseconds)
        {
            float[] sorted = [.. milliseconds.Order()];
            return sorted.Length == 0 ? 0 : sorted[sorted.Length / 2] / 1000.0;
        }
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

    /// <summary>An event at this place of the stream; 0 where steps are not watched.</summary>
    private nint Mark()
    {
        if (watched is null)
            return 0;
        nint mark = driver.CreateEvent(timed: true);
        driver.Record(mark, stream);
        return mark;
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
