using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// The DP groups that talk to the experts together (paper §5.2), as one of them sees it. Groups enter each step through an
/// all-gather of their row counts; one without work sleeps until it gets some or another has entered. When a rank dies, the
/// survivors meet in the next epoch; when no experts are left, the group waits for some to come back, and steps end with an error
/// if that takes long. Stays with the executor's thread, <see cref="Wake"/> and <see cref="Post"/> excepted.
/// </summary>
internal sealed class DpDomain : IStepDomain, IDisposable
{
    private readonly Lock wakes = new(); // held for a ring of the bell, or while the group changes
    private readonly ExpertExchange exchange;
    private readonly Backend backend;
    private readonly int member;
    private readonly Func<EpochGroup, ExchangeRoute> connect;
    private readonly PlacementBoard board;
    private readonly ConcurrentQueue<Action> changes = new(); // done between steps
    private readonly MixtureOptions options;
    private readonly MixtureEpoch everybody;
    private readonly MicroBatchChoice choice;
    private AutoResetEvent? bell = new(false); // of a group that takes no steps; null behind its end, which the board's thread may outlive
    private EpochGroup? place; // null before the first
    private Exception? stalled; // why this group takes no steps
    private bool over;          // for good
    private MixtureEpoch? seen; // what all had agreed on when this epoch was last found to hold
    private Collectives? steps; // null while this group takes no steps
    private StepRecord[] records = []; // [attention ranks]

    /// <summary>Sets the domain up; <see cref="Join"/> comes before its first step.</summary>
    /// <param name="member">This member with attention.</param>
    /// <param name="exchange">The way to the experts; stays the caller's.</param>
    /// <param name="backend">This rank's; stays the caller's.</param>
    /// <param name="connect">Makes the way over a group.</param>
    /// <param name="board">Where the ranks agree on where the experts are; stays the caller's.</param>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="everybody">The domain when nobody is gone.</param>
    public DpDomain(
        int member, ExpertExchange exchange, Backend backend, Func<EpochGroup, ExchangeRoute> connect, PlacementBoard board, MixtureOptions options, MixtureEpoch everybody)
    {
        choice = new MicroBatchChoice(options.MicroBatches);
        (this.options, this.everybody) = (options, everybody);
        (this.member, this.exchange, this.backend, this.connect, this.board) = (member, exchange, backend, connect, board);
        Epoch = everybody with { Experts = [], Version = -1 };
    }

    /// <summary>Meets the others, once the board has begun; does what is posted meanwhile. Without experts the domain has no steps until some come back.</summary>
    /// <exception cref="XcclException">They did not come in time.</exception>
    public void Join()
    {
        if (Meet(out MixtureEpoch? agreed) is { } first)
            Open(first);
        else if (agreed is { Experts.Count: 0 })
            (Epoch, stalled) = (agreed, WithoutExperts(null));
        else
            throw new XcclException(0, $"The ranks of domain {everybody.Domain} did not meet in time{(board.Failure is { } reason ? $": {reason.Message}" : ".")}");
    }

    /// <summary>Steps taken together.</summary>
    public long Steps { get; private set; }

    /// <summary>Steps of others in which this group had no rows.</summary>
    public long EmptySteps { get; private set; }

    /// <summary>Steps run as two micro-batches.</summary>
    public long SplitSteps { get; private set; }

    /// <summary>Epochs that have begun since the first.</summary>
    public int Recoveries { get; private set; }

    /// <summary>Who takes part now.</summary>
    public MixtureEpoch Epoch { get; private set; }

    /// <inheritdoc/>
    public long DispatchedRows => exchange.DispatchedRows;

    /// <inheritdoc/>
    public MixtureMetrics Metrics => board.Metrics;

    /// <summary>Has the executor's thread do something between two steps. Any thread.</summary>
    public void Post(Action change)
    {
        changes.Enqueue(change);
        Wake();
    }

    /// <inheritdoc/>
    public bool WaitForPeers()
    {
        if (stalled is not null)
            bell!.WaitOne();
        KeepUp();
        return steps is { } joined && joined.WaitForPeer();
    }

    /// <inheritdoc/>
    public void Wake()
    {
        lock (wakes)
        {
            if (steps is { } joined)
                joined.Wake();
            else
                bell?.Set();
        }
    }

    /// <inheritdoc/>
    public int MicroBatches { get; private set; } = 1;

    /// <inheritdoc/>
    public bool Enter(int first, int second)
    {
        KeepUp();
        if (stalled is { } reason)
            throw reason;
        choice.Observe(exchange.StepTime);
        StepRecord record = new(first, second, choice.Next());
        steps!.AllGather(MemoryMarshal.AsBytes(new ReadOnlySpan<StepRecord>(ref record)), MemoryMarshal.AsBytes(records.AsSpan()));
        (int mostRows, int mostPart, int total, bool split) = (0, 0, 0, false);
        foreach (StepRecord one in records)
        {
            mostRows = Math.Max(mostRows, one.First + one.Second);
            mostPart = Math.Max(mostPart, Math.Max(one.First, one.Second));
            total += one.First + one.Second;
            split |= one.Second > 0;
        }
        // Rounds of one micro-batch would meet the other's on the way.
        split &= mostPart <= exchange.Shape.MaxTokens;
        Steps++;
        SplitSteps += split ? 1 : 0;
        // The first group's word counts, so that all split the next step alike.
        MicroBatches = records[0].MicroBatches;
        choice.Begin(total, split ? 2 : 1);
        int most = exchange.Shape.MaxTokens;
        exchange.Open(split ? 1 : (mostRows + most - 1) / most, split ? 1 : 0);
        return split;
    }

    /// <inheritdoc/>
    public void Accompany()
    {
        bool two = Enter(0, 0);
        EmptySteps++;
        IReadOnlyList<int> layers = exchange.Layout.Layers;
        for (int layer = 0; layer < layers.Count; layer++)
        {
            // The same calls in the same order as in a step with rows: see MicroBatchPipeline.
            bool behind = two && layer > 0 && layers[layer] == layers[layer - 1] + 1;
            if (two && layer > 0 && !behind)
                EndBoth();
            for (int part = 0; part < (two ? 2 : 1); part++)
            {
                if (behind)
                    exchange.End(backend, default, default);
                exchange.Begin(backend, layer, default, default, default);
            }
            if (!two)
                exchange.End(backend, default, default);
        }
        if (two)
            EndBoth();
    }

    /// <summary>Does what was posted.</summary>
    private void Change()
    {
        while (changes.TryDequeue(out Action? change))
            change();
    }

    private void KeepUp()
    {
        Change();
        if (over)
            return;
        if (board.Outdates(everybody, Epoch, ref seen))
            throw new EpochOverException();
        if (board.Failure is { } failure)
            throw new IOException($"This rank no longer agrees with the others on where experts are: {failure.Message}", failure);
    }

    private void EndBoth()
    {
        exchange.End(backend, default, default);
        exchange.End(backend, default, default);
    }

    /// <inheritdoc/>
    public void Recover(Exception failure)
    {
        if (ReferenceEquals(failure, stalled))
            ExceptionDispatchInfo.Throw(failure);
        // First it leaves the old group: whoever has not noticed yet that the epoch is over does so now.
        lock (wakes)
            steps = null;
        place?.Dispose();
        MixtureEpoch? agreed = null;
        EpochGroup? next = failure is PeerLostException or EpochOverException ? Meet(out agreed) : null;
        if (next is null)
            Stall(failure, agreed);
        Open(next);
        Recoveries++;
    }

    /// <summary>Meets the others in the next epoch; null if there is none, or none with experts.</summary>
    private EpochGroup? Meet(out MixtureEpoch? agreed)
    {
        MixtureEpoch? next = null;
        EpochGroup? met = EpochGroup.JoinNext(
            options, exchange.Shape, () => next = board.Next(everybody, Epoch, Change), epoch => epoch.Experts.Count == 0 ? -1 : epoch.RankOfAttention(member));
        agreed = next;
        return met;
    }

    private static UnavailableException WithoutExperts(Exception? failure) => new("No experts are left. Steps go on as soon as a worker with experts is back.", failure);

    /// <summary>Takes no steps: until experts are back, if it is for lack of them, else for good.</summary>
    [DoesNotReturn]
    private void Stall(Exception failure, MixtureEpoch? agreed)
    {
        over = agreed is not { Experts.Count: 0 };
        if (over)
            board.Leave();
        else
            Epoch = agreed!;
        stalled = over
            ? new IOException($"This group can take no more steps, because its domain has failed: {failure.Message}", failure)
            : WithoutExperts(failure);
        throw stalled;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (wakes)
        {
            steps = null;
            bell?.Dispose();
            bell = null;
        }
        place?.Dispose();
    }

    private void Open(EpochGroup joined)
    {
        exchange.Connect(connect(joined), joined.Epoch.Layout);
        int ranks = joined.Epoch.Attention.Count;
        lock (wakes)
        {
            (place, Epoch, stalled) = (joined, joined.Epoch, null);
            (steps, records) = (joined.Group.Collectives.Among([.. Enumerable.Range(0, ranks)]), new StepRecord[ranks]);
        }
    }

    /// <summary>What a group says when it enters a step.</summary>
    /// <param name="First">Rows of its first micro-batch.</param>
    /// <param name="Second">Rows of its second.</param>
    /// <param name="MicroBatches">How many the next step should have.</param>
    private readonly record struct StepRecord(int First, int Second, int MicroBatches);
}
