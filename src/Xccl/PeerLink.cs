using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>A peer as this rank sees it: its mapped region and the epoch that it belongs to.</summary>
internal sealed unsafe class PeerLink : IDisposable
{
    private readonly ProcessIdentity owner;
    private readonly bool elsewhere;

    /// <summary>Takes a mapped region.</summary>
    /// <param name="rank">The peer.</param>
    /// <param name="region">Its region, disposed of with the link unless it is this rank's own.</param>
    /// <param name="ownEpoch">This rank's epoch.</param>
    public PeerLink(int rank, SharedRegion region, ulong ownEpoch)
    {
        Rank = rank;
        Region = region;
        Epoch = region.Epoch;
        Tag = Stamps.OfPair(Epoch, ownEpoch);
        Words = new MappedWords(region.Start);
        Memory = new MappedMemory(region);
        Bell = new Doorbell<MappedWords>(Words, RegionHeader.BellOffset, region.Sleeps);
        owner = region.Owner;
        elsewhere = owner.Id != Environment.ProcessId;
    }

    public int Rank { get; }

    public SharedRegion Region { get; }

    public ulong Epoch { get; }

    /// <summary>Stamps of rings between this rank and the peer carry it.</summary>
    public uint Tag { get; }

    public MappedWords Words { get; }

    public PeerMemory Memory { get; }

    public Doorbell<MappedWords> Bell { get; }

    /// <summary>Found dead or gone; stays so until the peer has joined again.</summary>
    public bool Lost { get; private set; }

    /// <summary>The peer closed its region.</summary>
    public bool Left => Region.State == RegionState.Closed;

    /// <summary>Asks the system; slow.</summary>
    public bool IsAlive()
    {
        Lost = Lost || Left || (elsewhere && !owner.IsAlive());
        return !Lost;
    }

    public void Dispose() => Region.Dispose();
}
