using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Where all ranks of a service, of whatever domain, agree on where the experts are: at first, when ranks are gone, and when copies
/// follow the load. Each rank has a thread that sleeps here; at every beat they tell each other how they fare. What a rank holds
/// and how it routes is changed by its own thread, between two steps or batches.
/// </summary>
internal sealed class PlacementBoard : IDisposable
{
    private readonly MixtureOptions options;
    private readonly int attention, experts; // this member; -1 if it is none
    private readonly ExpertExchange? exchange;
    private readonly HeldExperts? held;
    private readonly ExpertTimes? times;
    private readonly CancellationTokenSource stop = new();
    private readonly Lock wakes = new(); // held for a ring of the bell, or while the group changes
    private readonly Thread thread;
    private readonly Timer timer;
    private readonly TimeSpan period;
    private Action<Action>? post;
    private DpDomain? domain;
    private EpochGroup place;
    private Collectives? beats; // null while the group changes
    private RankRecord[] records = [], decided = []; // [ranks] as last told, and when experts were last balanced
    private SlowRanks? slow;
    private Settlement settled;
    private long lastBeat, lastBalance;
    private volatile bool agreed = true, leads;
    private volatile Exception? failure;

    /// <summary>Joins the others; <see cref="Start(Action{Action}, DpDomain?)"/> begins.</summary>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="everybody">All ranks of the service, and where experts are at first.</param>
    /// <param name="attention">This member with attention; -1 if it is none.</param>
    /// <param name="experts">This member with experts; -1 if it is none.</param>
    /// <param name="exchange">This rank's way to the experts, if it has attention; stays the caller's.</param>
    /// <param name="held">This rank's experts, if it has some; stay the caller's.</param>
    /// <param name="times">What its experts take, if it has nothing else.</param>
    /// <exception cref="XcclException">A rank did not come in time.</exception>
    public PlacementBoard(MixtureOptions options, MixtureEpoch everybody, int attention, int experts, ExpertExchange? exchange, HeldExperts? held, ExpertTimes? times = null)
    {
        (this.options, this.attention, this.experts, this.exchange, this.held, this.times) = (options, attention, experts, exchange, held, times);
        period = options.Balancing?.Period ?? Timeout.InfiniteTimeSpan;
        place = EpochGroup.Join(options, null, everybody, RankIn(everybody), options.JoinTimeout);
        settled = new Settlement(everybody.Experts, everybody.Layout);
        lastBeat = lastBalance = Stopwatch.GetTimestamp();
        Open();
        timer = new Timer(_ => Nudge(onlyLeader: true));
        thread = new Thread(Loop) { IsBackground = true, Name = "placement-board" };
    }

    /// <summary>What all ranks have told, and what has been moved.</summary>
    public MixtureMetrics Metrics { get; } = new();

    /// <summary>Why this rank takes part no longer; null while it does. It must leave its domains then.</summary>
    public Exception? Failure => failure;

    /// <summary>Begins.</summary>
    /// <param name="boundary">Has the rank's thread do something between two steps or batches. Any thread.</param>
    /// <param name="routes">Whose exchange this is, if the rank has attention.</param>
    public void Start(Action<Action> boundary, DpDomain? routes = null)
    {
        (post, domain) = (boundary, routes);
        thread.Start();
        timer.Change(options.Beat, options.Beat);
    }

    /// <summary>Where the experts are once all have agreed on it without those that an epoch lacks. Any thread but the board's.</summary>
    /// <param name="next">The epoch.</param>
    /// <param name="turn">Called while waiting: does what was posted to this rank's thread, if that is the caller; else null.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>Null if somebody else has gone meanwhile, or they do not agree in time.</returns>
    public ExpertLayout? Settle(MixtureEpoch next, Action? turn, CancellationToken cancel = default)
    {
        Nudge();
        long started = Stopwatch.GetTimestamp();
        while (failure is null && Stopwatch.GetElapsedTime(started) < options.JoinTimeout)
        {
            cancel.ThrowIfCancellationRequested();
            turn?.Invoke();
            Settlement now = Volatile.Read(ref settled); // not before: what was done then may be older
            if (agreed && now.Experts.SequenceEqual(next.Experts))
                return now.Layout;
            if (next.Experts.Any(member => !now.Experts.Contains(member)))
                return null;
            Thread.Sleep(1);
        }
        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stop.Cancel();
        timer.Dispose();
        if (thread.ThreadState.HasFlag(System.Threading.ThreadState.Unstarted))
            Close();
        else
            thread.Join();
        stop.Dispose();
    }

    /// <summary>Has the rank's thread do something between two steps or batches, and waits for it.</summary>
    /// <exception cref="TimeoutException">The thread did not come to it.</exception>
    internal void AtBoundary(Action change)
    {
        using ManualResetEventSlim done = new(false);
        Exception? thrown = null;
        post!(() =>
        {
            try
            {
                change();
            }
#pragma warning disable CA1031 // Belongs to the thread that waits.
            catch (Exception caught)
#pragma warning restore CA1031
            {
                thrown = caught;
            }
            done.Set();
        });
        if (!done.Wait(options.Timeout * 2, stop.Token))
            throw new TimeoutException($"{Name} did not end a step within {(options.Timeout * 2).TotalSeconds:0} s.");
        if (thrown is not null)
            throw new IOException($"{Name} cannot change its experts: {thrown.Message}", thrown);
    }

    /// <summary>Routes layers in another way from the rank's next step on.</summary>
    internal void Route(ExpertLayout layout, params ReadOnlySpan<int> layers)
    {
        Volatile.Write(ref settled, settled with { Layout = layout });
        if (exchange is null)
            return;
        IReadOnlyList<int> members = settled.Experts;
        (int Layer, RoutingTable Table)[] tables = new (int, RoutingTable)[layers.Length];
        for (int i = 0; i < tables.Length; i++)
            tables[i] = (layers[i], exchange.TableFor(layout[layers[i]]));
        // A domain that has yet to notice that ranks are gone ends no step before it has: then it is given all tables anew.
        AtBoundary(() =>
        {
            if (!domain!.Epoch.Experts.SequenceEqual(members))
                return;
            foreach ((int layer, RoutingTable table) in tables)
                exchange.Follow(layer, layout, table);
        });
    }

    private string Name => place.Epoch.NameOf(place.Group.Rank);

    private int RankIn(MixtureEpoch epoch) => attention >= 0 ? epoch.RankOfAttention(attention) : epoch.RankOfExperts(experts);

    private void Open()
    {
        int ranks = place.Epoch.Ranks;
        (records, decided) = (new RankRecord[ranks], new RankRecord[ranks]);
        slow = new SlowRanks([.. Enumerable.Range(0, ranks).Select(place.Epoch.NameOf)], place.Epoch.Attention.Count);
        leads = Metrics.Speaks = place.Group.Rank == 0;
        lock (wakes)
            beats = place.Group.Collectives;
    }

    private void Close()
    {
        lock (wakes)
            beats = null;
        place.Dispose();
    }

    private void Nudge(bool onlyLeader = false)
    {
        if (onlyLeader && !leads)
            return;
        lock (wakes)
            beats?.Wake();
    }

    private void Loop()
    {
        try
        {
            while (!stop.IsCancellationRequested)
                Turn();
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Asked to end.
        }
        catch (Exception reason) when (reason is IOException or TimeoutException or Models.Loading.ModelLoadException)
        {
            failure = reason;
            options.Log?.Invoke($"{Name} leaves those that share experts: {reason.Message}");
            LeaveFirst();
        }
        finally
        {
            Close();
        }
    }

    /// <summary>No step of this rank may end when the others change experts without it.</summary>
    private void LeaveFirst()
    {
        try
        {
            AtBoundary(() => { });
        }
        catch (Exception hung) when (hung is TimeoutException or OperationCanceledException)
        {
            // It ends no step.
        }
    }

    private void Turn()
    {
        try
        {
            if (!agreed)
                Agree();
            if (!leads || Stopwatch.GetElapsedTime(lastBeat) < options.Beat * 0.9)
            {
                if (!beats!.WaitForPeer(stop.Token))
                {
                    // A beat may be due, or somebody has noticed a loss.
                    if (place.Group.FindLost() is [int lost, ..])
                        throw new PeerLostException(lost, left: false);
                    return;
                }
            }
            Beat();
        }
        catch (PeerLostException)
        {
            agreed = false;
            Reform();
        }
    }

    private void Beat()
    {
        lastBeat = Stopwatch.GetTimestamp();
        RankRecord own = new() { Balance = leads && options.Balancing is not null && Stopwatch.GetElapsedTime(lastBalance) >= period };
        if (exchange is not null)
            own.Take(exchange);
        if (times is not null)
            own.Take(times);
        (own.LoadedBytes, own.LongestStall) = (held?.LoadedBytes ?? 0, held?.LongestSwap ?? 0);
        beats!.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<RankRecord>(ref own)), MemoryMarshal.AsBytes(records.AsSpan()), cancel: stop.Token);
        Tell();
        if (!records[0].Balance)
            return;
        double stepTokens = 0; // of all groups, since the last decision
        for (int rank = 0; rank < records.Length; rank++)
            if (records[rank].Steps - decided[rank].Steps is > 0 and long steps)
                stepTokens += (double)(records[rank].Rows - decided[rank].Rows) / steps;
        records.CopyTo(decided, 0);
        lastBalance = lastBeat;
        BalancerOptions how = options.Balancing ?? throw new IOException("The others balance experts: start all workers of a service with the same flags.");
        Rebalancing.Run(this, beats, place, settled.Layout, how, stepTokens, exchange, held, leads ? options.Log : null, stop.Token);
    }

    private void Tell()
    {
        foreach (string line in slow!.Observe(records))
            if (leads)
                options.Log?.Invoke(line);
        int attending = place.Epoch.Attention.Count;
        Metrics.Ranks = [.. records.Select((record, rank) => new RankStages(
            place.Epoch.NameOf(rank), record.Stages(rank < attending), rank < attending ? record.Rounds : record.Batches, slow[rank]))];
        long longest = records.Max(record => record.LongestStall);
        Metrics.LongestStall = Stopwatch.GetElapsedTime(0, longest);
    }

    /// <summary>Meets those that are left.</summary>
    private void Reform()
    {
        EpochGroup old = place;
        EpochGroup next = old.JoinNext(RankIn, epoch => epoch.Layout, stop.Token)
            ?? throw new IOException("Attention or experts are gone altogether, or those that are left did not meet in time.");
        string[] gone = [.. Enumerable.Range(0, old.Epoch.Ranks).Select(old.Epoch.NameOf).Except(Enumerable.Range(0, next.Epoch.Ranks).Select(next.Epoch.NameOf))];
        lock (wakes)
            beats = null;
        place = next;
        Open();
        old.Dispose();
        Metrics.Recoveries++;
        if (leads)
            options.Log?.Invoke($"{string.Join(", ", gone)} {(gone.Length == 1 ? "is" : "are")} gone; the others go on.");
    }

    /// <summary>
    /// All tell what they hold; who holds what nobody else has is worked out alike on all ranks; loading what is lost comes last. A
    /// change that was under way when ranks went is void.
    /// </summary>
    private void Agree()
    {
        Collectives all = beats!;
        IReadOnlyList<int> layers = settled.Layout.Layers;
        int first = place.Epoch.Colocated ? 0 : place.Epoch.Attention.Count, mine = experts < 0 ? -1 : place.Epoch.RankOfExperts(experts) - first;
        int[] counts = new int[place.Epoch.Ranks];
        all.AllGather(Bytes([held?.Slots(0).Length ?? 0]), MemoryMarshal.AsBytes(counts.AsSpan()), cancel: stop.Token);
        int most = counts.Max();
        int[] row = new int[most], rows = new int[most * place.Epoch.Ranks];
        int[][][] holdings = new int[layers.Count][][];
        for (int layer = 0; layer < layers.Count; layer++)
        {
            row.AsSpan().Fill(-1);
            held?.Slots(layer).CopyTo(row);
            all.AllGather(Bytes(row), MemoryMarshal.AsBytes(rows.AsSpan()), cancel: stop.Token);
            holdings[layer] = [.. Enumerable.Range(first, place.Epoch.Experts.Count).Select(rank => rows[(rank * most)..((rank + 1) * most)])];
        }
        ExpertLayout layout = ExpertLayout.Complete(layers, settled.Layout[0].Experts, holdings, out _);
        if (held is not null)
        {
            IReadOnlyList<ReplicaMove>[] missing = held.MissingFrom(layout, mine);
            bool loads = missing.Any(list => list.Count > 0);
            if (loads && layout.SlotsPerRank <= held.Slots(0).Length)
                held.Stage(missing);
            Meet(all);
            if (loads || layout.SlotsPerRank > held.Slots(0).Length)
                AtBoundary(() => held.Recover(layout, mine));
        }
        else
        {
            Meet(all);
        }
        all.Barrier(cancel: stop.Token);
        Volatile.Write(ref settled, new Settlement([.. place.Epoch.Experts], layout));
        agreed = true;
        if (exchange is not null)
            Route(layout, [.. Enumerable.Range(0, layers.Count)]);
    }

    /// <summary>No rank's thread is in a step that began before: what experts change from here on is in no answer that counts.</summary>
    private void Meet(Collectives all)
    {
        AtBoundary(() => { });
        all.Barrier(cancel: stop.Token);
    }

    private static ReadOnlySpan<byte> Bytes(ReadOnlySpan<int> values) => MemoryMarshal.AsBytes(values);

    /// <summary>What all have agreed on.</summary>
    /// <param name="Experts">Members with experts, rising.</param>
    /// <param name="Layout">Where they are.</param>
    private sealed record Settlement(IReadOnlyList<int> Experts, ExpertLayout Layout);
}
