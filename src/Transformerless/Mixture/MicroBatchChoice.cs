using System.Numerics;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// One micro-batch or two, by what steps of a size have taken either way: two hide exchanges behind attention, but make every
/// product and every exchange smaller. Now and then the slower way is tried again.
/// </summary>
/// <param name="asked">1 or 2 for always so many; 0 to choose.</param>
internal sealed class MicroBatchChoice(int asked)
{
    private const int Sizes = 24, TrialEvery = 64, TrialLength = 4;
    private const double Weight = 0.2; // of the newest step in the mean
    private readonly double[,] seconds = new double[Sizes, 2]; // [size, micro-batches - 1]: 0 for none yet
    private int size, parts = 1;
    private long steps;

    /// <summary>Says that a step begins.</summary>
    /// <param name="rows">Rows of all groups.</param>
    /// <param name="microBatches">How many it has.</param>
    public void Begin(int rows, int microBatches) => (size, parts) = (BitOperations.Log2((uint)Math.Max(1, rows)), microBatches);

    /// <summary>Says how long the step that began last took; zero for unknown.</summary>
    public void Observe(TimeSpan time)
    {
        if (time <= TimeSpan.Zero || asked != 0)
            return;
        ref double mean = ref seconds[size, parts - 1];
        mean = mean == 0 ? time.TotalSeconds : mean + (Weight * (time.TotalSeconds - mean));
    }

    /// <summary>Micro-batches of the next step, supposing it is as large as the last.</summary>
    public int Next()
    {
        if (asked != 0)
            return asked;
        (double one, double two) = (seconds[size, 0], seconds[size, 1]);
        bool trial = steps++ % TrialEvery < TrialLength;
        bool split = two == 0 ? trial : one == 0 ? !trial : two < one != trial;
        return split ? 2 : 1;
    }
}
