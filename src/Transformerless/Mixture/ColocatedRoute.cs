using System.Diagnostics;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Tokens;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Expert parallelism where every rank has attention and some of the experts: dispatch, this rank's experts, combine (paper
/// §3.2). The rank computes for others while it waits for its own sums.
/// </summary>
internal sealed class ColocatedRoute : ExchangeRoute
{
    private readonly AllToAll exchange;
    private readonly ExpertCompute compute;
    private readonly DispatchHandle?[] handles = new DispatchHandle?[2];
    private readonly byte[] received; // [received rows, hidden]
    private readonly byte[] outputs;  // [received rows, topK, hidden]
    private readonly ExpertTimes times;
    private uint sent, done;

    /// <summary>Sets the exchange up.</summary>
    /// <param name="group">This rank; stays the caller's.</param>
    /// <param name="shape">Shape of the rows.</param>
    /// <param name="slotsPerRank">Slots of each rank.</param>
    /// <param name="compute">This rank's experts; stay the caller's.</param>
    /// <param name="times">Gets what its experts take.</param>
    public ColocatedRoute(Communicator group, TokenShape shape, int slotsPerRank, ExpertCompute compute, ExpertTimes times)
    {
        this.times = times;
        exchange = new AllToAll(group, shape, slotsPerRank);
        this.compute = compute;
        received = new byte[(long)exchange.MaxReceived * shape.ElementBytes];
        outputs = new byte[(long)exchange.MaxReceived * shape.TopK * shape.ElementBytes];
    }

    /// <inheritdoc/>
    public override void Send(Parcel parcel) =>
        handles[sent++ % 2] = exchange.BeginDispatch(parcel.Values, parcel.Slots, parcel.EventId);

    /// <inheritdoc/>
    public override void Receive(Parcel parcel)
    {
        DispatchHandle handle = handles[done++ % 2]!;
        exchange.EndDispatch(handle, received);
        long begun = Stopwatch.GetTimestamp();
        compute.Run(parcel.Layer, handle.Batch, received, outputs);
        times.AddCompute(begun, begun, Stopwatch.GetTimestamp(), compute.Pairs);
        exchange.Combine(handle, outputs, parcel.Gates, parcel.Sums);
    }
}
