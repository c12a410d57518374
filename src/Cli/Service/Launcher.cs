using System.Diagnostics;
using System.Globalization;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Service;

/// <summary>Starts the workers of a topology, shows them coming up, starts them again when they end, and ends them all.</summary>
internal sealed class Launcher : IAsyncDisposable
{
    private const int MostFailures = 3; // before the service was ready once: then it never will be
    private readonly List<WorkerProcess> workers = [];
    private readonly CancellationTokenSource stop = new(), doorStop = new(); // workers end when nobody sends them requests any more
    private readonly CancellationToken hurry;
    private readonly Lock console = new();
    private readonly ServiceNode node;
    private readonly long start = Stopwatch.GetTimestamp();
    private readonly HashSet<string> shown = [];
    private readonly Func<WorkerSpec, IReadOnlyList<string>> arguments;
    private readonly List<Task> running = [], doors = [];
    private readonly Lock gate = new(); // over workers, running and doors

    /// <summary>A launcher of some workers.</summary>
    /// <param name="topology">Who runs.</param>
    /// <param name="node">This process's place in the service.</param>
    /// <param name="arguments">Makes a worker's command line.</param>
    /// <param name="hurry">Cancelled to end other front ends without waiting for their requests.</param>
    public Launcher(Topology topology, ServiceNode node, Func<WorkerSpec, IReadOnlyList<string>> arguments, CancellationToken hurry)
    {
        (this.node, this.arguments, this.hurry) = (node, arguments, hurry);
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
        lock (gate)
            workers.ForEach(Run);
    }

    /// <summary>Lets the numbers of workers follow what is desired, and that the load, from here on.</summary>
    public void Follow(DesiredWorkers desired, IReadOnlyList<RoleScaling> scaled)
    {
        lock (gate)
            running.Add(new Reconciler(this, node).RunAsync(desired, scaled, stop.Token));
    }

    /// <summary>Workers of a role that serve or are about to, without those that are about to end.</summary>
    public IReadOnlyList<string> Names(WorkerRole role)
    {
        lock (gate)
            return [.. workers.Where(worker => worker.Spec.Role == role && worker is { Spare: false, Retiring: false }).Select(worker => worker.Spec.Name)];
    }

    /// <summary>One more worker of a role: one that stands by, or a new one.</summary>
    public void Add(WorkerRole role)
    {
        lock (gate)
        {
            if (workers.Find(worker => worker.Spec.Role == role && worker is { Spare: true, Retiring: false }) is { } spare)
            {
                Say($"{spare.Spec.Name}: called in");
                spare.Call();
                return;
            }
            Run(New(role, spare: false));
        }
    }

    /// <summary>Has so many workers of a role stand by.</summary>
    public void KeepSpares(WorkerRole role, int count)
    {
        lock (gate)
            for (int spares = workers.Count(worker => worker.Spec.Role == role && worker.Spare); spares < count; spares++)
                Run(New(role, spare: true));
    }

    /// <summary>A worker is about to end, and is not to be started again.</summary>
    /// <param name="worker">Its name.</param>
    /// <param name="atOnce">Whether it ends now, or by itself when it is told to.</param>
    public void Retire(string worker, bool atOnce)
    {
        lock (gate)
            workers.Find(own => own.Spec.Name == worker)?.Retire(atOnce);
        Say($"{worker}: is to end {(atOnce ? "before it serves" : "when it has done what it has")}");
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
        lock (gate)
            workers.ForEach(worker => worker.Ready = true);
    }

    /// <summary>Has other front ends take no more requests, and end when they have answered those that they have.</summary>
    public void CloseDoors() => doorStop.Cancel();

    /// <summary>Ends the front ends, then the workers.</summary>
    public async ValueTask DisposeAsync()
    {
        node.Joined -= Show;
        await EndAsync(doorStop, doors);
        await EndAsync(stop, running);
    }

    private async Task EndAsync(CancellationTokenSource source, List<Task> tasks)
    {
        await source.CancelAsync();
        Task[] all;
        lock (gate)
            all = [.. tasks];
        await Task.WhenAll(all);
        source.Dispose();
    }

    private void Run(WorkerProcess worker)
    {
        bool door = worker.Spec.Role == WorkerRole.Frontend;
        CancellationToken end = door ? doorStop.Token : stop.Token;
        (door ? doors : running).Add(Task.Run(async () =>
        {
            await worker.RunAsync(end, hurry);
            lock (gate)
                workers.Remove(worker);
        }));
    }

    private WorkerProcess New(WorkerRole role, bool spare)
    {
        int number = 0;
        while (workers.Exists(worker => worker.Spec.Name == Topology.NameOf(role, number)))
            number++;
        // Like the first of its role, but for cores, which that one has.
        WorkerSpec spec = workers.First(worker => worker.Spec.Role == role).Spec with { Name = Topology.NameOf(role, number), Cores = [] };
        WorkerProcess added = new(spec, arguments(spec), Say, node.ReportExitAsync, spare);
        workers.Add(added);
        return added;
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
