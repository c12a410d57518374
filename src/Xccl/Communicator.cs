using System.Diagnostics;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>
/// One rank of a group: its own region, the regions of its peers, and the protocols over them. A thread drives it; where
/// several do, each keeps to its own peer, direction or channel. [paper 2]
/// </summary>
public sealed unsafe class Communicator : IDisposable
{
    private readonly GroupOptions options;
    private readonly PeerLink?[] links;
    private readonly MappedWords own;
    private bool disposed;

    private Communicator(GroupOptions options)
    {
        this.options = options;
        Geometry = options.Geometry;
        Rank = options.Rank;
        Strategy = options.Strategy != WaitStrategy.Automatic ? options.Strategy
            : Ranks > Environment.ProcessorCount ? WaitStrategy.Block : WaitStrategy.Spin;
        Region = SharedRegion.Create(options.Name, Rank, Geometry, Strategy == WaitStrategy.Block);
        own = new MappedWords(Region.Start);
        Bell = new Doorbell<MappedWords>(own, RegionHeader.BellOffset, sleeps: true);
        links = new PeerLink?[Ranks];
        links[Rank] = new PeerLink(Rank, Region, Region.Epoch);
        Messages = new PointToPoint(this);
        Collectives = new Collectives(this, [.. Enumerable.Range(0, Ranks)]);
    }

    /// <summary>This rank.</summary>
    public int Rank { get; }

    /// <summary>Ranks of the group.</summary>
    public int Ranks => Geometry.Ranks;

    /// <summary>What the group agreed on.</summary>
    public RegionGeometry Geometry { get; }

    /// <summary>What waits do, decided.</summary>
    public WaitStrategy Strategy { get; }

    /// <summary>Send and receive.</summary>
    public PointToPoint Messages { get; }

    /// <summary>Barrier, broadcast, all-gather of small records.</summary>
    public Collectives Collectives { get; }

    /// <summary>This rank's app data area: what lies here can be lent without a copy.</summary>
    public Span<byte> App => new((byte*)AppAddress, checked((int)Geometry.AppBytes));

    /// <summary>First byte of <see cref="App"/>.</summary>
    public nint AppAddress
    {
        get
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            return (nint)(Region.Start + Region.Layout.App);
        }
    }

    internal SharedRegion Region { get; }

    internal MappedWords Own => own;

    internal Doorbell<MappedWords> Bell { get; }

    internal TimeSpan Timeout => options.Timeout;

    /// <summary>Changes whenever any rank of the group has been replaced; the same on all ranks.</summary>
    internal uint Generation { get; private set; }

    /// <summary>Makes this rank's region, maps the others' and waits until all have mapped this one's.</summary>
    /// <exception cref="XcclTimeoutException">A rank did not come in time; the message names it.</exception>
    /// <exception cref="IOException">The rank is taken, shared memory is short, or a peer has another version or geometry.</exception>
    public static Communicator Join(GroupOptions options, CancellationToken cancel = default)
    {
        Communicator group = new(options);
        try
        {
            group.LinkAll(options.JoinTimeout, cancel);
            return group;
        }
        catch
        {
            group.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Takes ranks back that died and were started again. Every rank of the group calls it after a
    /// <see cref="PeerLostException"/>; it returns when all are there. Rings between survivors keep what is in them; everything
    /// of the dead rank's epoch and every exchange or collective that was under way is void.
    /// </summary>
    /// <exception cref="XcclTimeoutException">A rank did not come in time.</exception>
    /// <exception cref="PeerLostException">A rank died meanwhile: start it again and call again.</exception>
    public void Rejoin(TimeSpan timeout, CancellationToken cancel = default)
    {
        for (int rank = 0; rank < Ranks; rank++)
        {
            if (rank != Rank && links[rank] is { } link && !link.IsAlive())
                Drop(rank);
        }
        LinkAll(timeout, cancel);
    }

    /// <summary>Peers that have died or left, rising: asks the system, slow.</summary>
    public IReadOnlyList<int> FindLost()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return [.. Enumerable.Range(0, Ranks).Where(rank => rank != Rank && !IsAlive(rank))];
    }

    /// <summary>Leaves: unmaps everything and removes this rank's region, and those of ranks that died.</summary>
    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        Generation = 0; // no exchange goes on over memory that is no longer mapped
        Messages.Dispose();
        foreach (PeerLink? link in links)
            link?.Dispose();
        RegionFiles.Sweep();
    }

    /// <summary>The link to a peer that has not been found dead.</summary>
    /// <exception cref="PeerLostException">It has.</exception>
    internal PeerLink Link(int rank)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if ((uint)rank >= (uint)links.Length)
            throw new ArgumentOutOfRangeException(nameof(rank), $"Rank {rank} does not exist: the group has ranks 0 to {Ranks - 1}.");
        PeerLink link = links[rank] ?? throw new PeerLostException(rank, left: false);
        return link.Lost ? throw new PeerLostException(rank, link.Left) : link;
    }

    /// <summary>What an exchange that began in an earlier generation may not do: go on.</summary>
    /// <exception cref="InvalidOperationException">A rank has been replaced since, or this one has left.</exception>
    internal void RequireGeneration(uint began)
    {
        if (began == Generation)
            return;
        ObjectDisposedException.ThrowIf(disposed, this);
        throw new InvalidOperationException("A rank has been replaced since this exchange began, and what was under way is void: begin it again.");
    }

    /// <summary>Asks the system whether a peer lives.</summary>
    internal bool IsAlive(int rank) => links[rank] is { } link && link.IsAlive();

    /// <summary>Asks the system whether a peer lives; -1 for all peers.</summary>
    /// <returns>What to throw if it does not; null if it does.</returns>
    internal PeerLostException? FindLost(int rank)
    {
        int last = rank < 0 ? Ranks - 1 : rank;
        for (int peer = Math.Max(rank, 0); peer <= last; peer++)
            if (links[peer] is not { } link || !link.IsAlive())
                return new PeerLostException(peer, links[peer]?.Left ?? false);
        return null;
    }

    private void LinkAll(TimeSpan timeout, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        for (int missing; (missing = TryLinkAll()) >= 0; Thread.Sleep(1))
        {
            cancel.ThrowIfCancellationRequested();
            if (Stopwatch.GetElapsedTime(started) >= timeout)
                throw new XcclTimeoutException(missing, 0, timeout, links[missing] is null ? Awaited.Region : Awaited.Link);
        }
        ulong sum = 0;
        for (int rank = 0; rank < Ranks; rank++)
        {
            sum += links[rank]!.Epoch;
            Messages.Connect(rank);
        }
        Generation = Stamps.Fold(sum);
        // Nobody starts before all have left what they were doing when a rank died: what they still read must not be overwritten.
        Collectives.Barrier(timeout, cancel);
    }

    private void Drop(int rank)
    {
        Messages.Drop(rank);
        links[rank]!.Dispose();
        links[rank] = null;
    }

    /// <returns>A rank that is not linked yet, or -1.</returns>
    private int TryLinkAll()
    {
        int missing = -1;
        for (int rank = 0; rank < Ranks; rank++)
        {
            if (rank == Rank)
                continue;
            if (links[rank] is { } known && !known.IsAlive())
                Drop(rank);
            if (links[rank] is null && SharedRegion.TryOpen(options.Name, rank, Geometry) is { } region)
            {
                links[rank] = new PeerLink(rank, region, Region.Epoch);
                links[rank]!.Memory.Signal(region.Layout.Link(Rank), Region.Epoch);
            }
            if (links[rank] is not { } link || own.Read(Region.Layout.Link(rank)) != link.Epoch)
                missing = rank;
        }
        return missing;
    }
}
