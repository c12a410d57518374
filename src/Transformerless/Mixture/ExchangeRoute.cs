namespace XDeepServe.Transformerless.Mixture;

/// <summary>One round of rows on its way to experts and back.</summary>
/// <param name="layer">The layer's number in the model.</param>
/// <param name="part">Which part of the step.</param>
/// <param name="eventId">Names it, the same on all ranks.</param>
/// <param name="values">F32 <c>[tokens, hidden]</c>.</param>
/// <param name="slots"><c>[tokens, topK]</c> physical slots.</param>
/// <param name="gates"><c>[tokens, topK]</c>.</param>
/// <param name="sums"><c>[tokens, hidden]</c>: receives the answer.</param>
internal readonly ref struct Parcel(int layer, int part, uint eventId, ReadOnlySpan<byte> values, ReadOnlySpan<int> slots, ReadOnlySpan<float> gates, Span<float> sums)
{
    public int Layer { get; } = layer;

    public int Part { get; } = part;

    public uint EventId { get; } = eventId;

    public ReadOnlySpan<byte> Values { get; } = values;

    public ReadOnlySpan<int> Slots { get; } = slots;

    public ReadOnlySpan<float> Gates { get; } = gates;

    public Span<float> Sums { get; } = sums;
}

/// <summary>A way to the experts over one group of ranks; another group, as after a rank's death, is another way.</summary>
internal abstract class ExchangeRoute
{
    /// <summary>Gives one round's rows away; they are the caller's again when it returns, slots and gates when they have been received.</summary>
    public abstract void Send(Parcel parcel);

    /// <summary>Receives the sums of the oldest round under way.</summary>
    public abstract void Receive(Parcel parcel);
}
