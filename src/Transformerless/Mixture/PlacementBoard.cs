using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Where all ranks of a service, of whatever domain, agree on where the experts are: at first, when ranks have gone or come back, and when
/// copies follow the load. Each rank has a thread that sleeps here; at every beat they tell each other how they fare. What a rank holds
/// and how it routes is changed by its own thread, between two steps or batches.
/// </summary>
internal sealed partial class PlacementBoard : IDisposable
{
    private readonly MixtureOptions options;
    private readonly int attention, experts; // this member; -1 if it is none
    private readonly MixtureEpoch everybody; // when nobody is gone
    private readonly ExpertExchange? exchange;
    private readonly HeldExperts? held;
    private readonly ExpertTimes? times;
    private readonly CancellationTokenSource stop = new();
    private readonly Lock wakes = new(); // held for a ring of the bell, or while the group changes
    private readonly Thread thread;
    private readonly Timer timer;
    private readonly TimeSpan period;
    private Action<Action> post = change => change(); // until the rank's thread runs
    private DpDomain? domain;
    private EpochGroup place;
    private Collectives? beats; // null while the group changes
    private ExpertPlacement[] replaced = []; // [layers with experts]
    private RankRecord[] records = [], decided = []; // [ranks] as last told, and when experts were last balanced
    private SlowRanks? slow;
    private MixtureEpoch settled; // what all have agreed on, of all domains
    private long lastBeat, lastBalance;
    private volatile bool agreed, leads;
    private volatile Exception? failure;

    /// <summary>Joins the others; <see cref="Start(Action{Action}, DpDomain?)"/> begins.</summary>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="everybody">All ranks of the service, and where experts are at first.</param>
    /// <param name="attention">This member with attention; -1 if it is none.</param>
    /// <param name="experts">This member with experts; -1 if it is none.</param>
    /// <param name="exchange">This rank's way to the experts, if it has attention; stays the caller's.</param>
    /// <param name="held">This rank's experts, if it has some; stay the caller's.</param>
    /// <param name="times">What its experts take, if it has some.</param>
    /// <exception cref="XcclException">A rank did not come in time, or nobody took this one back.</exception>
    public PlacementBoard(MixtureOptions options, MixtureEpoch everybody, int attention, int experts, ExpertExchange? exchange, HeldExperts? held, ExpertTimes? times = null)
    {
        (this.options, this.attention, this.experts, this.exchange, this.held, this.times, this.everybody) = (options, attention, experts, exchange, held, times, everybody);
        period = options.Balancing?.Period ?? Timeout.InfiniteTimeSpan;
        place = options.Rejoin ? Return() : EpochGroup.Join(options, null, everybody, RankIn(everybody), options.JoinTimeout);
        (settled, agreed) = (place.Epoch, !options.Rejoin);
        lastBeat = lastBalance = Stopwatch.GetTimestamp();
        timer = new Timer(_ => Nudge(onlyLeader: true));
        thread = new Thread(Loop) { IsBackground = true, Name = "placement-board" };
        Open();
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

    /// <summary>A domain's part of what all have agreed on.</summary>
    /// <param name="domain">The domain with all its members.</param>
    public MixtureEpoch PartOf(MixtureEpoch domain)
    {
        MixtureEpoch all = Volatile.Read(ref settled);
        return domain with { Attention = [.. domain.Attention.Where(all.Attention.Contains)], Experts = all.Experts, Layout = all.Layout, Version = all.Version, Returned = all.Returned };
    }

    /// <summary>Whether others take part in a domain than in an epoch of it. Allocates nothing where nothing has changed.</summary>
    /// <param name="domain">The domain with all its members.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="seen">What it was compared with last: the caller's to keep.</param>
    public bool Outdates(MixtureEpoch domain, MixtureEpoch epoch, ref MixtureEpoch? seen)
    {
        MixtureEpoch all = Volatile.Read(ref settled);
        if (!agreed || ReferenceEquals(all, seen))
            return false;
        if (!PartOf(domain).HasMembersOf(epoch))
            return true;
        seen = all;
        return false;
    }

    /// <summary>A domain's next epoch, once all have agreed on it. Any thread but the board's.</summary>
    /// <param name="domain">The domain with all its members.</param>
    /// <param name="last">The epoch that is over.</param>
    /// <param name="turn">Called while waiting: does what was posted to this rank's thread, if that is the caller; else null.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>
    /// Null if they do not agree in time. One without experts if none have come back in time. While nobody in the domain has attention, there is no time.
    /// </returns>
    public MixtureEpoch? Next(MixtureEpoch domain, MixtureEpoch last, Action? turn, CancellationToken cancel = default)
    {
        Nudge();
        long started = Stopwatch.GetTimestamp();
        while (failure is null && Stopwatch.GetElapsedTime(started) is var waited && waited < options.JoinTimeout)
        {
            cancel.ThrowIfCancellationRequested();
            turn?.Invoke();
            MixtureEpoch next = PartOf(domain); // not before: what was done then may be older
            if (next.Attention.Count == 0)
                (started, last) = (Stopwatch.GetTimestamp(), next); // the same members may come back
            else if (next.Experts.Count == 0 && agreed && waited >= options.ReturnPatience)
                return next;
            else if (next.Experts.Count == 0)
                last = next; // as above
            else if (agreed && next.Version > last.Version && !next.HasMembersOf(last))
                return next;
            Thread.Sleep(next.Attention.Count == 0 ? 20 : 1);
        }
        return null;
    }

    /// <summary>Has the others do without this rank. Any thread.</summary>
    public void Leave() => stop.Cancel();

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
        post(() =>
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
            tables[i] = (layers[i], exchange.TableFor(layout, layers[i]));
        // A domain that has yet to notice that ranks are gone ends no step before it has: then it is given all tables anew.
        AtBoundary(() =>
        {
            if (domain is null || !domain.Epoch.Experts.SequenceEqual(members))
                return;
            foreach ((int layer, RoutingTable table) in tables)
                exchange.Follow(layer, layout, table);
        });
    }

    /// <summary>What a layer's last change replaced, if its slots are as many as then; the layer as it is if there was none.</summary>
    /// <param name="layer">The layer, counted among those with experts.</param>
    /// <param name="now">As it is.</param>
    internal ExpertPlacement Replaced(int layer, ExpertPlacement now) =>
        layer < replaced.Length && (replaced[layer].Slots.Length, replaced[layer].SlotsPerRank) == (now.Slots.Length, now.SlotsPerRank) ? replaced[layer] : now;

    /// <summary>Keeps what <see cref="Replaced"/> gives.</summary>
    internal void Replaces(ExpertPlacement[] placements) => replaced = placements;

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
        RankRecord own = new()
        {
            Balance = leads && options.Balancing is not null && place.Epoch.Experts.Count > 0 && Stopwatch.GetElapsedTime(lastBalance) >= period,
            Admit = leads ? Knocking() : 0,
        };
        if (exchange is not null)
            own.Take(exchange);
        if (times is not null)
            own.Take(times);
        (own.LoadedBytes, own.LongestStall) = (held?.LoadedBytes ?? 0, held?.LongestSwap ?? 0);
        beats!.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<RankRecord>(ref own)), MemoryMarshal.AsBytes(records.AsSpan()), cancel: stop.Token);
        Tell();
        if (records[0].Admit != 0)
            Admit(records[0].Admit - 1);
        if (records[0].Admit != 0 || !records[0].Balance)
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
            place.Epoch.NameOf(rank), record.Stages(rank < attending, experts: rank >= attending || place.Epoch.Colocated), rank < attending ? record.Rounds : record.Batches, slow[rank]))];
        long longest = records.Max(record => record.LongestStall);
        Metrics.LongestStall = Stopwatch.GetElapsedTime(0, longest);
    }
}
