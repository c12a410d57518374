using System.Diagnostics;
using System.Globalization;
using XDeepServe.Server.Control;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>Starts the workers of a topology, shows them coming up, starts them again when they end, and ends them all.</summary>
internal sealed class Launcher : IAsyncDisposable
{
    private const int MostFailures = 3; // before the service was ready once: then it never will be
    private readonly List<WorkerProcess> workers = [];
    private readonly CancellationTokenSource stop = new();
    private readonly Lock console = new();
    private readonly ServiceNode node;
    private readonly long start = Stopwatch.GetTimestamp();
    private readonly HashSet<string> shown = [];
    private Task running = Task.CompletedTask;

    /// <summary>A launcher of some workers.</summary>
    /// <param name="topology">Who runs.</param>
    /// <param name="node">This process's place in the service.</param>
    /// <param name="arguments">Makes a worker's command line.</param>
    public Launcher(Topology topology, ServiceNode node, Func<WorkerSpec, IReadOnlyList<string>> arguments)
    {
        this.node = node;
        foreach (WorkerSpec spec in topology.Workers)
            workers.Add(new WorkerProcess(spec, arguments(spec), Say, node.ReportExitAsync));
        Executors = topology.Workers.Count(spec => spec.Role is not (WorkerRole.Frontend or WorkerRole.Expert));
    }

    /// <summary>Workers that take requests.</summary>
    public int Executors { get; }

    /// <summary>Starts the workers.</summary>
    public void Start()
    {
        node.Joined += Show;
        running = Task.WhenAll(workers.Select(worker => Task.Run(() => worker.RunAsync(stop.Token))));
    }

    /// <summary>Ends when a worker has failed so often that the service will not come up.</summary>
    /// <exception cref="IOException">Always; says which.</exception>
    public async Task WatchStartAsync(CancellationToken ready)
    {
        while (!ready.IsCancellationRequested)
        {
            if (workers.Find(worker => worker.Failures >= MostFailures) is { } hopeless)
                throw new IOException($"{hopeless.Spec.Name} ended {MostFailures} times before the service was ready; what it said stands above.");
            await Task.Delay(100, CancellationToken.None);
        }
    }

    /// <summary>Ends the workers.</summary>
    public async ValueTask DisposeAsync()
    {
        node.Joined -= Show;
        await stop.CancelAsync();
        await running;
        stop.Dispose();
    }

    private void Show(string worker)
    {
        bool first;
        lock (console)
            first = shown.Add(worker);
        Say(string.Create(CultureInfo.InvariantCulture, $"{worker}: ready{(first ? $" after {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s" : " again")}"));
    }

    private void Say(string line)
    {
        lock (console)
            Console.Error.WriteLine(line);
    }
}
