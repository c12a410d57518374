using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl;

/// <summary>
/// Dispatch and combine where every rank has both tokens and experts. Pull-based, in two phases: each rank writes what a peer is
/// to get into its own memory and tells the peer how much it is; when a rank has heard from all, it pulls. A token with several
/// experts on a rank travels there once; each expert's row travels back. Two dispatches may be under way at once. One thread at
/// a time; all ranks make the same calls in the same order. [paper 3.2]
/// </summary>
public sealed unsafe class AllToAll
{
    private readonly Communicator group;
    private readonly TokenShape shape;
    private readonly Exchange dispatch, combine;
    private readonly DispatchSender sender;
    private readonly DispatchReceiver receiver;
    private readonly CombineSender returner;
    private readonly CombineReceiver collector;
    private readonly DispatchHandle[] handles;
    private uint dispatches;

    /// <summary>Sets the exchange up.</summary>
    /// <param name="group">This rank.</param>
    /// <param name="shape">Shape of the rows, the same on all ranks.</param>
    /// <param name="slotsPerRank">Expert slots of each rank: slot s is rank s / slotsPerRank's. Replicas of an expert are slots of their own.</param>
    /// <param name="channel">First of the two channels, made as <see cref="Channels"/> says.</param>
    /// <exception cref="ArgumentException">The shape is impossible, or the channels are smaller than it needs.</exception>
    public AllToAll(Communicator group, TokenShape shape, int slotsPerRank, int channel = 0)
    {
        shape.Check();
        ArgumentOutOfRangeException.ThrowIfLessThan(slotsPerRank, 1);
        this.group = group;
        this.shape = shape;
        int[] everyone = [.. Enumerable.Range(0, group.Ranks)];
        (dispatch, combine) = (new Exchange(group, channel, everyone, everyone), new Exchange(group, channel + 1, everyone, everyone));
        Topology.CheckChannels(group, channel, Channels(shape));
        sender = new DispatchSender(dispatch, shape, segments: 1);
        receiver = new DispatchReceiver(dispatch, shape, segments: 1, group.Ranks);
        returner = new CombineSender(combine, shape, group.Ranks);
        collector = new CombineReceiver(combine, shape);
        handles = [new DispatchHandle(shape, group.Ranks, slotsPerRank), new DispatchHandle(shape, group.Ranks, slotsPerRank)];
    }

    /// <summary>Most rows that can come to one rank at once.</summary>
    public int MaxReceived => group.Ranks * shape.MaxTokens;

    /// <summary>Block sizes of the two channels that an exchange of this shape needs, for the geometry.</summary>
    /// <exception cref="ArgumentException">The shape is impossible.</exception>
    public static IReadOnlyList<long> Channels(TokenShape shape)
    {
        shape.Check();
        return [shape.DispatchBlock(1), Topology.AtLeastOneLine(shape.CombineBlock(1))];
    }

    /// <summary>Gives tokens to their experts' ranks and receives those for this rank's experts.</summary>
    /// <param name="rows">[tokens, hidden] in the shape's element type.</param>
    /// <param name="slots">[tokens, topK] physical expert slots, -1 for none.</param>
    /// <param name="received">Room for up to <see cref="MaxReceived"/> rows.</param>
    /// <param name="eventId">The caller's name for it, the same on all ranks.</param>
    /// <param name="note">A word that every receiver finds in its batch.</param>
    /// <param name="timeout">Most time for each wait; the group's if none is given.</param>
    /// <param name="cancel">Ends a wait; this rank must then leave and join again.</param>
    /// <returns>What has come, and what the combine needs.</returns>
    /// <exception cref="XcclException">A rank died, left, took too long or is at another event.</exception>
    public DispatchHandle Dispatch(
        ReadOnlySpan<byte> rows, ReadOnlySpan<int> slots, Span<byte> received, uint eventId = 0, ulong note = 0, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        fixed (byte* source = rows)
        {
            DispatchHandle handle = BeginDispatch(source, rows.Length, slots, eventId, note, Direct(shape.Dispatch), timeout, cancel);
            EndDispatch(handle, received, timeout, cancel);
            return handle;
        }
    }

    /// <summary>The first half of <see cref="Dispatch"/>: writes and announces. The rows are the caller's again on return.</summary>
    /// <exception cref="InvalidOperationException">Two dispatches are under way: combine the first.</exception>
    /// <exception cref="XcclException">As <see cref="Dispatch"/>.</exception>
    public DispatchHandle BeginDispatch(
        ReadOnlySpan<byte> rows, ReadOnlySpan<int> slots, uint eventId = 0, ulong note = 0, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        fixed (byte* source = rows)
            return BeginDispatch(source, rows.Length, slots, eventId, note, own: -1, timeout, cancel);
    }

    private DispatchHandle BeginDispatch(
        byte* rows, long bytes, ReadOnlySpan<int> slots, uint eventId, ulong note, int own, TimeSpan? timeout, CancellationToken cancel)
    {
        if (dispatch.Open() | combine.Open())
        {
            dispatches = 0;
            handles[0].State = handles[1].State = DispatchState.Free;
        }
        DispatchHandle handle = handles[++dispatches % 2];
        if (handle.State != DispatchState.Free)
        {
            dispatches--;
            throw new InvalidOperationException("Two dispatches are under way: combine the first before the third begins.");
        }
        handle.Plan.Clear();
        handle.Plan.Add(slots);
        if (bytes < (long)handle.Plan.Tokens * shape.ElementBytes)
            throw new ArgumentException($"{handle.Plan.Tokens} tokens of {shape.ElementBytes} bytes are expected, not {bytes} bytes.");
        dispatch.WaitForRoom(eventId, timeout, cancel);
        (handle.EventId, handle.Own, handle.State, handle.Turn) = (eventId, own, DispatchState.Announced, dispatch.NextWritten);
        for (int token = 0; token < handle.Plan.Tokens; token++)
            handle.Sources[token] = (nint)(rows + ((long)token * shape.ElementBytes));
        sender.Write(handle.Plan, handle.Sources, encoded: false, group.Rank + 1, eventId, note, own);
        return handle;
    }

    /// <summary>The second half of <see cref="Dispatch"/>: waits for all ranks and pulls.</summary>
    /// <exception cref="XcclException">As <see cref="Dispatch"/>.</exception>
    public void EndDispatch(DispatchHandle handle, Span<byte> received, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        Require(handle, DispatchState.Announced, dispatch.NextPulled);
        dispatch.WaitForBlocks(handle.EventId, timeout, cancel);
        receiver.List(handle.Batch, handle.Own, handle.Plan, handle.Sources);
        receiver.Copy(handle.Batch, received);
        handle.Traffic = new TokenTraffic(Pairs(handle.Plan) * shape.Hidden * RowFormat.Size(shape.DispatchWire), receiver.Moved(group.Rank));
        dispatch.Release();
        handle.State = DispatchState.Received;
    }

    /// <summary>Returns expert rows to the tokens' ranks and sums those of this rank's tokens.</summary>
    /// <param name="handle">Of the dispatch.</param>
    /// <param name="outputs">[received rows, topK, hidden]: one row for each expert of this rank; others are not looked at.</param>
    /// <param name="gates">[tokens, topK]</param>
    /// <param name="combined">[tokens, hidden]: Σ gate · row in order of k, in single precision.</param>
    /// <param name="timeout">Most time for each wait; the group's if none is given.</param>
    /// <param name="cancel">Ends a wait; this rank must then leave and join again.</param>
    /// <exception cref="XcclException">A rank died, left or took too long.</exception>
    public void Combine(
        DispatchHandle handle, ReadOnlySpan<byte> outputs, ReadOnlySpan<float> gates, Span<float> combined, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        CheckCombine(handle, gates, combined);
        int own = Direct(shape.Combine);
        BeginCombine(handle, outputs, own, timeout, cancel);
        fixed (byte* source = outputs)
            EndCombine(handle, gates, combined, own, source, timeout, cancel);
    }

    /// <summary>The first half of <see cref="Combine"/>: writes and announces. The outputs are the caller's again on return.</summary>
    /// <exception cref="XcclException">As <see cref="Combine"/>.</exception>
    public void BeginCombine(DispatchHandle handle, ReadOnlySpan<byte> outputs, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        BeginCombine(handle, outputs, own: -1, timeout, cancel);

    private void BeginCombine(DispatchHandle handle, ReadOnlySpan<byte> outputs, int own, TimeSpan? timeout, CancellationToken cancel)
    {
        Require(handle, DispatchState.Received, handle.Turn);
        combine.WaitForRoom(handle.EventId, timeout, cancel);
        uint turn = combine.NextWritten;
        returner.Write(handle.Batch, outputs, group.Rank + 1, own);
        (handle.State, handle.Turn) = (DispatchState.Returned, turn);
    }

    /// <summary>The second half of <see cref="Combine"/>: waits for all ranks and sums.</summary>
    /// <exception cref="XcclException">As <see cref="Combine"/>.</exception>
    public void EndCombine(DispatchHandle handle, ReadOnlySpan<float> gates, Span<float> combined, TimeSpan? timeout = null, CancellationToken cancel = default) =>
        EndCombine(handle, gates, combined, own: -1, null, timeout, cancel);

    private void EndCombine(
        DispatchHandle handle, ReadOnlySpan<float> gates, Span<float> combined, int own, byte* outputs, TimeSpan? timeout, CancellationToken cancel)
    {
        Require(handle, DispatchState.Returned, combine.NextPulled);
        combine.WaitForBlocks(handle.EventId, timeout, cancel);
        byte* ownRows = own < 0 ? null : outputs + ((long)handle.Batch.Start(own) * shape.TopK * shape.ElementBytes);
        collector.Sum(handle.Plan, gates, combined, own, ownRows);
        handle.Traffic += new TokenTraffic(Pairs(handle.Plan) * shape.Hidden * RowFormat.Size(shape.CombineWire), collector.Moved(group.Rank));
        combine.Release();
        handle.State = DispatchState.Free;
    }

    /// <summary>This rank, if its own rows need not pass through a block: when both halves are one call and rows travel as they are.</summary>
    private int Direct(in RowFormat format) => format.IsPlain ? group.Rank : -1;

    private static long Pairs(RoutePlan plan)
    {
        long pairs = 0;
        for (int token = 0; token < plan.Tokens; token++)
            for (int k = 0; k < plan.TopK; k++)
                if (plan.Slot(token, k) >= 0)
                    pairs++;
        return pairs;
    }

    /// <summary>Before anything is announced: a combine that fails after that cannot be asked for again.</summary>
    private void CheckCombine(DispatchHandle handle, ReadOnlySpan<float> gates, ReadOnlySpan<float> combined)
    {
        Require(handle, DispatchState.Received, handle.Turn);
        collector.Check(handle.Plan, gates, combined);
    }

    private void Require(DispatchHandle handle, DispatchState state, uint turn)
    {
        if (handle != handles[0] && handle != handles[1])
            throw new ArgumentException("The dispatch is another exchange's.");
        if (handle.State != state || handle.Turn != turn)
            throw new InvalidOperationException(
                $"The dispatch is {handle.State}{(handle.Turn != turn ? " and not the oldest" : "")}, not {state}: begin and end dispatch, then begin and end combine, each in the order of their beginnings.");
    }
}
