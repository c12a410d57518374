using System.Diagnostics;

namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int MostGraphs = 256;
    private readonly Dictionary<long, RecordedStep> graphs = []; // by shape of the step
    private long repeats;
    private bool capturing;

    /// <summary>Steps that were recorded so far, the seconds that took and the GPU's memory that they were given (what is freed is not counted).</summary>
    public (int Steps, double Seconds, long Bytes) Recordings { get; private set; }

    /// <inheritdoc/>
    public override bool Records => true;

    /// <inheritdoc/>
    public override void Repeat(long shape, Action step)
    {
        driver.Enter();
        Settle();
        Flush();
        if (!graphs.TryGetValue(shape, out RecordedStep? recorded))
        {
            // The first time runs as it is: buffers grow and kernels are compiled, which a capture forbids.
            step();
            Settle();
            if (graphs.Count == MostGraphs)
                Forget(graphs.MinBy(entry => entry.Value.Used).Key);
            graphs[shape] = new RecordedStep { Used = repeats++ };
            return;
        }
        recorded.Used = repeats++;
        if (recorded.Graph == 0)
        {
            (long started, long free) = (Stopwatch.GetTimestamp(), driver.FreeBytes());
            recorded.Graph = Record(step);
            Recordings = (Recordings.Steps + 1, Recordings.Seconds + Stopwatch.GetElapsedTime(started).TotalSeconds, Recordings.Bytes + free - driver.FreeBytes());
        }
        nint begun = Mark();
        driver.LaunchGraph(recorded.Graph, stream);
        if (begun != 0)
            watched!.Add((shape, begun, Mark()));
    }

    /// <summary>Records operations instead of running them.</summary>
    private nint Record(Action step)
    {
        driver.BeginCapture(stream);
        capturing = true;
        try
        {
            step();
            Settle();
        }
        catch
        {
            capturing = false;
            driver.AbandonCapture(stream);
            throw;
        }
        capturing = false;
        return driver.EndCapture(stream);
    }

    /// <summary>Drops all graphs: what they refer to is about to change.</summary>
    private void ForgetGraphs()
    {
        foreach (long shape in graphs.Keys.ToArray())
            Forget(shape);
    }

    /// <summary>Drops a graph; one that runs ends first.</summary>
    private void Forget(long shape)
    {
        if (graphs.Remove(shape, out RecordedStep? recorded) && recorded.Graph != 0)
            driver.DestroyGraph(recorded.Graph);
    }

    /// <summary>A shape of a step: 0 where it has run once; when it ran last, counted in steps.</summary>
    private sealed class RecordedStep
    {
        public nint Graph { get; set; }

        public long Used { get; set; }
    }
}
