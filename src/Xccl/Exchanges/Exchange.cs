using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl.Exchanges;

/// <summary>
/// One channel as one rank sees it: blocks that it writes in its own managed area for its targets, and blocks that it pulls from
/// its sources. Two blocks may be under way in each direction at once. One thread at a time.
/// </summary>
/// <param name="group">This rank.</param>
/// <param name="channel">Channel of the geometry.</param>
/// <param name="sources">Ranks whose blocks this rank pulls.</param>
/// <param name="targets">Ranks that pull this rank's blocks.</param>
internal sealed unsafe class Exchange(Communicator group, int channel, int[] sources, int[] targets)
{
    private readonly HandshakeSender<MappedWords>[] senders = new HandshakeSender<MappedWords>[targets.Length];
    private readonly HandshakeReceiver<MappedWords>[] receivers = new HandshakeReceiver<MappedWords>[sources.Length];
    private readonly PeerLink[] sourceLinks = new PeerLink[sources.Length];
    private readonly PeerLink[] targetLinks = new PeerLink[targets.Length];
    private readonly BlockHead[] heads = new BlockHead[sources.Length];
    private uint generation;
    private uint written, pulled; // sequence numbers of the last announced and the last released set
    private int writable, arrived; // targets and sources found ready for the next

    /// <summary>Ranks whose blocks this rank pulls.</summary>
    public int[] Sources => sources;

    /// <summary>Ranks that pull this rank's blocks.</summary>
    public int[] Targets => targets;

    /// <summary>Bytes of one block.</summary>
    public long BlockBytes => group.Geometry.Channels[channel];

    /// <summary>Begins anew if a rank of the group has been replaced since.</summary>
    /// <returns>True if it has.</returns>
    public bool Open()
    {
        group.Link(group.Rank); // which refuses once the rank has left
        if (generation == group.Generation)
            return false;
        for (int index = 0; index < targets.Length; index++)
        {
            PeerLink link = targetLinks[index] = group.Link(targets[index]);
            senders[index] = new HandshakeSender<MappedWords>(
                link.Words, link.Region.Layout.ExchangeField(channel, 0, group.Rank), link.Region.Layout.ExchangeField(channel, 1, group.Rank),
                group.Own, group.Region.Layout.Release(channel, targets[index]), group.Generation);
        }
        for (int index = 0; index < sources.Length; index++)
        {
            PeerLink link = sourceLinks[index] = group.Link(sources[index]);
            receivers[index] = new HandshakeReceiver<MappedWords>(
                group.Own, group.Region.Layout.ExchangeField(channel, 0, sources[index]), group.Region.Layout.ExchangeField(channel, 1, sources[index]),
                link.Words, link.Region.Layout.Release(channel, group.Rank), group.Generation);
        }
        (generation, written, pulled, writable, arrived) = (group.Generation, 0, 0, 0, 0);
        return true;
    }

    /// <summary>Number of the turn that is written next.</summary>
    public uint NextWritten => written + 1;

    /// <summary>Number of the turn that is pulled next.</summary>
    public uint NextPulled => pulled + 1;

    /// <summary>Whether all targets have released the blocks that the next ones would overwrite.</summary>
    /// <param name="missing">A rank that has not.</param>
    public bool HasRoom(out int missing)
    {
        group.RequireGeneration(generation);
        missing = -1;
        for (; writable < targets.Length; writable++)
        {
            if (senders[writable].MayWrite(written + 1))
                continue;
            missing = targets[writable];
            return false;
        }
        return true;
    }

    /// <summary>The next block for a target; only after <see cref="HasRoom"/>.</summary>
    public byte* Room(int target) => group.Region.Start + group.Region.Layout.Block(channel, written + 1, targets[target]);

    /// <summary>Hands the next block over to its target.</summary>
    public void Announce(int target, uint eventId, int count, long bytes, ulong note)
    {
        senders[target].Announce(written + 1, new BlockHead(eventId, (uint)count, group.Region.Layout.Block(channel, written + 1, targets[target]), bytes, note));
        targetLinks[target].Bell.Ring();
    }

    /// <summary>All blocks of this turn are announced.</summary>
    public void EndWriting()
    {
        written++;
        writable = 0;
    }

    /// <summary>Whether the next block of every source has arrived.</summary>
    /// <param name="missing">A rank whose block has not.</param>
    public bool HasArrived(out int missing)
    {
        group.RequireGeneration(generation);
        missing = -1;
        for (; arrived < sources.Length; arrived++)
        {
            if (receivers[arrived].TryArrive(pulled + 1, out heads[arrived]))
                continue;
            missing = sources[arrived];
            return false;
        }
        return true;
    }

    /// <summary>What a source says of its block; only after <see cref="HasArrived"/>.</summary>
    public ref readonly BlockHead Head(int source) => ref heads[source];

    /// <summary>A source's block where it lies, in the source's memory; this rank's to read until <see cref="Release"/>.</summary>
    public byte* Arrived(int source) => sourceLinks[source].Memory.Map(heads[source].Place, heads[source].Bytes);

    /// <summary>Gives all blocks of this turn back to their sources.</summary>
    public void Release()
    {
        pulled++;
        arrived = 0;
        for (int index = 0; index < sources.Length; index++)
        {
            receivers[index].Release(pulled);
            sourceLinks[index].Bell.Ring();
        }
    }

    /// <summary>Waits until <see cref="HasRoom"/>.</summary>
    /// <exception cref="XcclException">A rank of the group died, left or took too long.</exception>
    public void WaitForRoom(uint eventId, TimeSpan? timeout, CancellationToken cancel)
    {
        if (HasRoom(out int missing))
            return;
        Patience patience = new(group, Awaited.Release, eventId, timeout ?? group.Timeout, cancel);
        try
        {
            while (!HasRoom(out missing))
                patience.StepOfAll(missing);
        }
        finally
        {
            patience.End();
        }
    }

    /// <summary>Waits until <see cref="HasArrived"/>, and checks that all sources speak of the same event.</summary>
    /// <exception cref="XcclException">A rank of the group died, left or took too long.</exception>
    public void WaitForBlocks(uint eventId, TimeSpan? timeout, CancellationToken cancel)
    {
        if (!HasArrived(out int missing))
        {
            Patience patience = new(group, Awaited.Block, eventId, timeout ?? group.Timeout, cancel);
            try
            {
                while (!HasArrived(out missing))
                    patience.StepOfAll(missing);
            }
            finally
            {
                patience.End();
            }
        }
        RequireEvent(eventId);
    }

    /// <summary>Checks that all sources speak of the same event; only after <see cref="HasArrived"/>.</summary>
    /// <exception cref="MessageException">One does not.</exception>
    public void RequireEvent(uint eventId)
    {
        for (int source = 0; source < sources.Length; source++)
            if (heads[source].EventId != eventId)
                throw new MessageException(sources[source], $"Rank {sources[source]} announced event {heads[source].EventId} where event {eventId} is expected: exchange in the same order on all ranks.");
    }
}
