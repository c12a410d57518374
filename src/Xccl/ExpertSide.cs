using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Xccl;

/// <summary>
/// A rank of experts: receives the tokens of all attention ranks for its slots and returns one row for each (token, expert).
/// Where it is a trampoline too, it passes on while it waits, unless a thread of its own does that. [paper 3.3, 5.2]
/// </summary>
public sealed unsafe class ExpertSide
{
    private readonly Communicator group;
    private readonly Exchange inward, outward;
    private readonly DispatchReceiver receiver;
    private readonly CombineSender returner;
    private readonly ExpertBatch[] batches;
    private readonly bool drives, drivesReturning;
    private uint taken;

    /// <summary>Sets the rank up.</summary>
    /// <param name="group">This rank; its number says that it has experts.</param>
    /// <param name="topology">Who is what, the same on all ranks.</param>
    /// <param name="shape">Shape of the rows, the same on all ranks.</param>
    /// <param name="channel">First of the channels that <see cref="Topology.Channels"/> lists.</param>
    /// <param name="drivesTrampoline">False if another thread calls the trampoline's DoWork.</param>
    /// <param name="returnsApart">Another thread calls <see cref="Return"/> than <see cref="Receive"/>, which alone drives the trampoline then.</param>
    /// <exception cref="ArgumentException">The topology does not fit the group or the geometry.</exception>
    public ExpertSide(Communicator group, Topology topology, TokenShape shape, int channel = 0, bool drivesTrampoline = true, bool returnsApart = false)
    {
        topology.Check(group, shape, channel);
        ArgumentOutOfRangeException.ThrowIfLessThan(group.Rank, topology.AttentionRanks);
        this.group = group;
        int[] partners = topology.Trampolines ? topology.TrampolineList() : topology.Attention();
        int shift = topology.Trampolines ? 2 : 0;
        (inward, outward) = (new Exchange(group, channel + shift, partners, []), new Exchange(group, channel + shift + 1, [], partners));
        receiver = new DispatchReceiver(inward, shape, topology.Segments, topology.AttentionRanks);
        returner = new CombineSender(outward, shape, topology.AttentionRanks);
        batches = [new ExpertBatch(shape, topology.AttentionRanks), new ExpertBatch(shape, topology.AttentionRanks)];
        if (topology.Trampolines && partners.Contains(group.Rank))
            Trampoline = new Trampoline(group, topology, shape, channel);
        drives = drivesTrampoline && Trampoline is not null;
        drivesReturning = drives && !returnsApart;
        MaxReceived = topology.AttentionRanks * shape.MaxTokens;
    }

    /// <summary>Most rows that can come at once.</summary>
    public int MaxReceived { get; }

    /// <summary>What this rank passes on; null if it is no trampoline.</summary>
    public Trampoline? Trampoline { get; }

    /// <summary>Moves what passes through, and says whether <see cref="Receive"/> would not have to wait.</summary>
    public bool DoWork()
    {
        Open();
        if (drives)
            Trampoline!.DoWork();
        return inward.HasArrived(out _);
    }

    /// <summary>Waits for the next tokens of all attention ranks and pulls them.</summary>
    /// <param name="received">Room for up to <see cref="MaxReceived"/> rows.</param>
    /// <param name="timeout">Most time for it; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>What has come: the caller's until the next but one.</returns>
    /// <exception cref="XcclException">A rank of the group died, left or took too long.</exception>
    public ExpertBatch Receive(Span<byte> received, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        Open();
        Wait(arriving: true, taken, timeout, cancel);
        inward.RequireEvent(inward.Head(0).EventId);
        ExpertBatch batch = batches[(taken + 1) % 2];
        receiver.List(batch);
        receiver.Copy(batch, received);
        inward.Release();
        taken++;
        return batch;
    }

    /// <summary>Returns the experts' rows of a batch. Batches are returned in the order in which they came.</summary>
    /// <param name="batch">From <see cref="Receive"/>.</param>
    /// <param name="outputs">[rows, topK, hidden]: one row for each expert of this rank; others are not looked at.</param>
    /// <param name="timeout">Most time for the wait for room; the group's if none is given.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <exception cref="XcclException">A rank of the group died, left or took too long.</exception>
    public void Return(ExpertBatch batch, ReadOnlySpan<byte> outputs, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        Wait(arriving: false, batch.EventId, timeout, cancel);
        returner.Write(batch, outputs, group.Rank);
        if (drivesReturning)
            Trampoline!.DoWork();
    }

    /// <summary>Passes on until nothing is under way through this rank: before it leaves, or computes for long.</summary>
    /// <exception cref="XcclException">A rank of the group died, left or took too long.</exception>
    public void Drain(TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        if (!drives)
            return;
        Patience patience = new(group, Awaited.Block, 0, timeout ?? group.Timeout, cancel);
        try
        {
            while (Trampoline!.UnderWay > 0)
                if (!Trampoline.DoWork())
                    patience.StepOfAll(Trampoline.Missing());
        }
        finally
        {
            patience.End();
        }
    }

    private void Open()
    {
        if (inward.Open() | outward.Open())
            taken = 0;
    }

    private void Wait(bool arriving, uint eventId, TimeSpan? timeout, CancellationToken cancel)
    {
        Patience patience = new(group, arriving ? Awaited.Block : Awaited.Release, eventId, timeout ?? group.Timeout, cancel);
        try
        {
            for (int missing; arriving ? !inward.HasArrived(out missing) : !outward.HasRoom(out missing);)
                if (!(arriving ? drives : drivesReturning) || !Trampoline!.DoWork())
                    patience.StepOfAll(missing);
        }
        finally
        {
            patience.End();
        }
    }
}
