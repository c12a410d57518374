using XDeepServe.Xccl.Exchanges;

namespace XDeepServe.Xccl.Tokens;

/// <summary>
/// Pulls the tokens that all sources have announced. Origins, the ranks whose tokens they were first, are spread over the
/// sources in turn: origin o comes through source o mod sources, as its segment o / sources. [paper 3.2, steps 5 to 7]
/// </summary>
/// <param name="exchange">The channel.</param>
/// <param name="shape">Shape of the rows.</param>
/// <param name="segments">Ranks whose tokens one block can carry.</param>
/// <param name="origins">Ranks whose tokens come.</param>
internal sealed unsafe class DispatchReceiver(Exchange exchange, TokenShape shape, int segments, int origins)
{
    private readonly TokenBlock block = new(shape, segments);
    private readonly RowFormat format = shape.Dispatch;

    /// <summary>Lists the rows where they lie; only when all have arrived. The caller releases the exchange afterwards.</summary>
    /// <param name="batch">Filled.</param>
    /// <param name="own">The origin whose rows have not travelled, because this rank has them; -1 for none.</param>
    /// <param name="plan">Of that origin's dispatch.</param>
    /// <param name="ownRows">Address of each of its tokens' rows.</param>
    public void List(ExpertBatch batch, int own = -1, RoutePlan? plan = null, nint[]? ownRows = null)
    {
        batch.Clear();
        batch.EventId = exchange.Head(0).EventId;
        batch.Note = exchange.Head(0).Note;
        int sources = exchange.Sources.Length;
        for (int origin = 0; origin < origins; origin++)
        {
            if (origin == own)
            {
                batch.Add(own, plan!, ownRows!);
                continue;
            }
            byte* room = exchange.Arrived(origin % sources);
            int segment = origin / sources;
            int before = 0;
            for (int earlier = 0; earlier < segment; earlier++)
                before += ((int*)room)[earlier];
            ReadOnlySpan<int> slots = new((int*)(room + block.Slots) + (before * shape.TopK), ((int*)room)[segment] * shape.TopK);
            batch.Add(origin, slots, (nint)(room + block.Rows + ((long)before * format.WireBytes)), format.WireBytes);
        }
    }

    /// <summary>Copies the listed rows to the caller, dequantised.</summary>
    /// <param name="batch">From <see cref="List"/>.</param>
    /// <param name="received">[rows, hidden]</param>
    public void Copy(ExpertBatch batch, Span<byte> received)
    {
        if (received.Length < (long)batch.Rows * format.ElementBytes)
            throw new ArgumentException($"{batch.Rows} rows of {format.ElementBytes} bytes have come; there is room for {received.Length} bytes.");
        fixed (byte* destination = received)
            for (int row = 0; row < batch.Rows; row++)
                format.Decode(destination + ((long)row * format.ElementBytes), (byte*)batch.Addresses[row]);
    }

    /// <summary>Bytes of the announced blocks that lie with other ranks.</summary>
    public long Moved(int ownRank)
    {
        long moved = 0;
        for (int source = 0; source < exchange.Sources.Length; source++)
            if (exchange.Sources[source] != ownRank)
                moved += block.Used(segments, (int)exchange.Head(source).Count);
        return moved;
    }
}
