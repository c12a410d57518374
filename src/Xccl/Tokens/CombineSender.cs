using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Tokens;

/// <summary>Writes expert rows into this rank's blocks, one row for each (token, expert), and announces them.</summary>
/// <param name="exchange">The channel; its targets are the sources of the dispatch.</param>
/// <param name="shape">Shape of the rows.</param>
/// <param name="origins">Ranks whose tokens they are.</param>
internal sealed unsafe class CombineSender(Exchange exchange, TokenShape shape, int origins)
{
    private readonly RowFormat format = shape.Combine;

    /// <summary>Writes and announces the next blocks; only when the exchange has room.</summary>
    /// <param name="batch">What the dispatch brought.</param>
    /// <param name="outputs">[rows, topK, hidden]: the row of an expert that is elsewhere is not looked at.</param>
    /// <param name="first">The target to begin with.</param>
    /// <param name="skipped">A target that gets an empty block, because it has the outputs; -1 for none.</param>
    public void Write(ExpertBatch batch, ReadOnlySpan<byte> outputs, int first, int skipped = -1)
    {
        if (outputs.Length < (long)batch.Rows * shape.TopK * format.ElementBytes)
            throw new ArgumentException($"{batch.Rows} rows with {shape.TopK} experts of {format.ElementBytes} bytes are expected, not {outputs.Length} bytes.");
        int targets = exchange.Targets.Length;
        fixed (byte* source = outputs)
        {
            for (int turn = 0; turn < targets; turn++)
            {
                int target = (first + turn) % targets;
                byte* room = exchange.Room(target), place = room;
                bool stream = target != skipped && (long)batch.RowsOf(target) * format.WireBytes >= BlockCopy.LargeBytes;
                for (int origin = target == skipped ? origins : target; origin < origins; origin += targets)
                {
                    int start = batch.Start(origin) * shape.TopK, end = start + (batch.RowsOf(origin) * shape.TopK);
                    for (int pair = start; pair < end; pair++)
                    {
                        if (batch.Slots[pair] < 0)
                            continue;
                        format.Encode(place, source + ((long)pair * format.ElementBytes), stream);
                        place += format.WireBytes;
                    }
                }
                if (stream)
                    BlockCopy.EndStream();
                exchange.Announce(target, batch.EventId, (int)((place - room) / format.WireBytes), place - room, batch.Note);
            }
        }
        exchange.EndWriting();
    }
}
