namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int MostGraphs = 256;
    private readonly Dictionary<long, nint> graphs = []; // by shape of the step; 0 where it has run once
    private bool capturing;

    /// <inheritdoc/>
    public override bool Records => true;

    /// <inheritdoc/>
    public override void Repeat(long shape, Action step)
    {
        driver.Enter();
        Settle();
        Flush();
        if (!graphs.TryGetValue(shape, out nint graph))
        {
            // The first time runs as it is: buffers grow and kernels are compiled, which a capture forbids.
            step();
            Settle();
            if (graphs.Count == MostGraphs)
                ForgetGraphs();
            graphs[shape] = 0;
            return;
        }
        if (graph == 0)
            graphs[shape] = graph = Record(step);
        nint begun = Mark();
        driver.LaunchGraph(graph, stream);
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
        foreach (nint graph in graphs.Values)
            if (graph != 0)
                driver.DestroyGraph(graph);
        graphs.Clear();
    }
}
