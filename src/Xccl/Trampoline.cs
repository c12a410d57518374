using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Memory;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Xccl;

/// <summary>
/// Passes tokens of its attention ranks on to all expert ranks (A2E'), and the experts' rows back (E2A'). An attention rank so
/// writes one field instead of one for each expert rank. Rows pass through as they are on the way; nothing is decoded.
/// A duty cycle: <see cref="DoWork"/> never waits. [paper 3.3, Fig. 8]
/// </summary>
public sealed unsafe class Trampoline
{
    private readonly TokenShape shape;
    private readonly Exchange tokensIn, rowsOut, tokensOut, rowsIn;
    private readonly DispatchReceiver receiver;
    private readonly DispatchSender sender;
    private readonly CombineReceiver collector;
    private readonly ExpertBatch batch;
    private readonly RoutePlan[] plans;
    private readonly int rank;
    private uint forwarded, returned;

    internal Trampoline(Communicator group, Topology topology, TokenShape shape, int channel)
    {
        this.shape = shape;
        rank = group.Rank;
        int[] served = topology.ServedBy(group.Rank), experts = topology.Experts();
        (tokensIn, rowsOut) = (new Exchange(group, channel, served, []), new Exchange(group, channel + 1, [], served));
        (tokensOut, rowsIn) = (new Exchange(group, channel + 2, [], experts), new Exchange(group, channel + 3, experts, []));
        receiver = new DispatchReceiver(tokensIn, shape, segments: 1, served.Length);
        sender = new DispatchSender(tokensOut, shape, topology.Segments);
        collector = new CombineReceiver(rowsIn, shape);
        batch = new ExpertBatch(shape, served.Length);
        plans =
        [
            new RoutePlan(shape, experts.Length, topology.SlotsPerRank, topology.Segments),
            new RoutePlan(shape, experts.Length, topology.SlotsPerRank, topology.Segments),
        ];
    }

    /// <summary>Sends that have been passed on and not yet answered.</summary>
    public int UnderWay => (int)(forwarded - returned);

    /// <summary>Passes on what has come, if there is room for it.</summary>
    /// <returns>True if there was anything.</returns>
    public bool DoWork()
    {
        if (tokensIn.Open() | rowsOut.Open() | tokensOut.Open() | rowsIn.Open())
            forwarded = returned = 0;
        return Forward() | Return();
    }

    /// <summary>A rank that the oldest send under way waits for: an expert rank's answer, or an attention rank's room for it.</summary>
    internal int Missing() => !rowsIn.HasArrived(out int missing) || !rowsOut.HasRoom(out missing) ? missing : rank;

    private bool Forward()
    {
        if (forwarded - returned == 2 || !tokensIn.HasArrived(out _) || !tokensOut.HasRoom(out _))
            return false;
        tokensIn.RequireEvent(tokensIn.Head(0).EventId);
        receiver.List(batch);
        RoutePlan plan = plans[++forwarded % 2];
        plan.Clear();
        // What an attention rank sent are its tokens that have an expert at all, with the slots as they were chosen.
        for (int origin = 0; origin < tokensIn.Sources.Length; origin++)
            plan.Add(batch.Slots.Slice(batch.Start(origin) * shape.TopK, batch.RowsOf(origin) * shape.TopK));
        sender.Write(plan, batch.Addresses, encoded: true, rank, batch.EventId, batch.Note);
        tokensIn.Release();
        return true;
    }

    private bool Return()
    {
        if (forwarded == returned || !rowsIn.HasArrived(out _) || !rowsOut.HasRoom(out _))
            return false;
        RoutePlan plan = plans[++returned % 2];
        int wireBytes = shape.Combine.WireBytes;
        for (int target = 0; target < rowsOut.Targets.Length; target++)
        {
            byte* room = rowsOut.Room(target), place = room;
            for (int token = plan.SegmentStart(target); token < plan.SegmentStart(target + 1); token++)
            {
                for (int k = 0; k < shape.TopK; k++)
                {
                    if (plan.Slot(token, k) < 0)
                        continue;
                    BlockCopy.Run(place, collector.Row(plan, token, k), wireBytes);
                    place += wireBytes;
                }
            }
            rowsOut.Announce(target, rowsIn.Head(0).EventId, (int)((place - room) / wireBytes), place - room, rowsIn.Head(0).Note);
        }
        rowsOut.EndWriting();
        rowsIn.Release();
        return true;
    }
}
