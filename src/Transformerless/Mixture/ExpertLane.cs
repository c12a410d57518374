using XDeepServe.Xccl;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// One domain as an expert rank sees it: a duty cycle that receives and passes on for others (paper §5.2, the first of the three
/// streams), on a thread of its own. When a rank of the domain dies, the lane meets the others in the next epoch.
/// </summary>
internal sealed class ExpertLane : IDisposable
{
    private readonly MixtureOptions options;
    private readonly TokenShape shape;
    private readonly int member;
    private readonly ExpertParcel[] parcels;
    private readonly Action<ExpertParcel> deliver;
    private readonly PlacementBoard board;
    private readonly MixtureEpoch everybody;
    private readonly CancellationTokenSource stop = new();
    private readonly Thread thread;
    private EpochGroup? place; // null before the first, and while nobody in the domain has attention
    private ExpertSide? side;
    private uint taken;

    /// <summary>Sets a lane up.</summary>
    /// <param name="everybody">The domain when nobody is gone.</param>
    /// <param name="member">This member with experts.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="shape">Shape of the rows.</param>
    /// <param name="deliver">Gets what has come, in order.</param>
    /// <param name="board">Where the ranks agree on where the experts are; stays the caller's.</param>
    public ExpertLane(MixtureEpoch everybody, int member, MixtureOptions options, TokenShape shape, Action<ExpertParcel> deliver, PlacementBoard board)
    {
        (this.member, this.options, this.shape, this.deliver, this.board, this.everybody) = (member, options, shape, deliver, board, everybody);
        parcels = [new ExpertParcel(this), new ExpertParcel(this)];
        thread = new Thread(Loop) { IsBackground = true, Name = $"expert-lane-{everybody.Domain}" };
    }

    /// <summary>Number of the domain.</summary>
    public int Domain => everybody.Domain;

    /// <summary>Epochs that have begun since the first.</summary>
    public int Recoveries { get; private set; }

    /// <summary>What ended the lane; null while it runs, or if it was stopped.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Begins.</summary>
    public void Start() => thread.Start();

    /// <summary>Gives answers back, and the parcel free: the third stream's part, on its thread.</summary>
    public void Return(ExpertParcel parcel)
    {
        try
        {
            side!.Return(parcel.Batch!, parcel.Outputs, cancel: stop.Token);
        }
        catch (Exception failure) when (failure is XcclException or OperationCanceledException)
        {
            // The receiving thread finds the same, and has the epoch changed.
        }
        finally
        {
            parcel.Busy = false;
        }
    }

    /// <summary>Has the lane end.</summary>
    public void Stop() => stop.Cancel();

    /// <inheritdoc/>
    public void Dispose()
    {
        Stop();
        if (!thread.ThreadState.HasFlag(ThreadState.Unstarted))
            thread.Join();
        stop.Dispose();
    }

    private ExpertSide Open(EpochGroup joined)
    {
        Xccl.Topology split = EpochGroup.SplitOf(joined.Epoch, options);
        ExpertSide opened = new(joined.Group, split, shape, returnsApart: true);
        foreach (ExpertParcel parcel in parcels)
        {
            parcel.Received = new byte[(long)opened.MaxReceived * shape.ElementBytes];
            parcel.Outputs = new byte[(long)opened.MaxReceived * shape.TopK * shape.ElementBytes];
        }
        return opened;
    }

    private void Loop()
    {
        try
        {
            while (true)
                Run();
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Asked to end.
        }
        catch (XcclException failure)
        {
            Failure = failure;
        }
        finally
        {
            // Whoever cannot go on leaves, so that the others need not wait for it.
            foreach (ExpertParcel parcel in parcels)
                Settle(parcel);
            place?.Dispose();
        }
    }

    private void Run()
    {
        try
        {
            if (place is null)
                Join(everybody with { Attention = [], Version = -1 });
            Receive();
        }
        catch (PeerLostException)
        {
            // Not in a filter: what was waiting takes its announcement back from the old group's memory first.
            Recover();
        }
    }

    private void Receive()
    {
        ExpertParcel parcel = parcels[taken % 2];
        // The third batch comes only when the first has been answered, so this is a matter of a moment.
        Settle(parcel);
        // Without work there is nothing to wait for in vain: a peer that hangs is found by those who have work.
        parcel.Batch = side!.Receive(parcel.Received, TimeSpan.MaxValue, stop.Token);
        taken++;
        parcel.Busy = true;
        deliver(parcel);
    }

    private void Recover()
    {
        // What is under way reads and writes the old group's memory.
        foreach (ExpertParcel parcel in parcels)
            Settle(parcel);
        MixtureEpoch last = place!.Epoch;
        place.Dispose();
        place = null;
        Join(last);
        Recoveries++;
    }

    /// <summary>Meets the domain's others in the epoch that follows one.</summary>
    private void Join(MixtureEpoch last)
    {
        place = EpochGroup.JoinNext(options, shape, () => board.Next(everybody, last, null, stop.Token), epoch => epoch.RankOfExperts(member), stop.Token)
            ?? throw new XcclException(0, $"The ranks of domain {Domain} that are left did not meet in time.");
        side = Open(place);
        taken = 0;
    }

    private static void Settle(ExpertParcel parcel)
    {
        SpinWait spin = default;
        while (parcel.Busy)
            spin.SpinOnce();
    }
}
