using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>The way of a rank that has attention alone: A2E, experts on ranks of their own, E2A (paper §3.3).</summary>
/// <param name="side">This rank in its domain's exchange.</param>
internal sealed class SplitRoute(AttentionSide side) : ExchangeRoute
{
    /// <inheritdoc/>
    public override void Send(Parcel parcel) =>
        side.Send(parcel.Values, parcel.Slots, parcel.EventId, BatchNote.Pack(parcel.Layer, parcel.Part));

    /// <inheritdoc/>
    public override void Receive(Parcel parcel) => side.Receive(parcel.Gates, parcel.Sums, parcel.EventId);
}
