using XDeepServe.Xccl.Exchanges;
using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Tokens;

/// <summary>Writes tokens into this rank's blocks, one for each target, and announces them. [paper 3.2, steps 1 to 4]</summary>
/// <param name="exchange">The channel.</param>
/// <param name="shape">Shape of the rows.</param>
/// <param name="segments">Ranks whose tokens one block can carry.</param>
internal sealed unsafe class DispatchSender(Exchange exchange, TokenShape shape, int segments)
{
    private readonly TokenBlock block = new(shape, segments);
    private readonly RowFormat format = shape.Dispatch;

    /// <summary>Writes and announces the next blocks; only when the exchange has room.</summary>
    /// <param name="plan">Who gets what.</param>
    /// <param name="sources">Address of each token's row.</param>
    /// <param name="encoded">The rows are as on the way already, and go on unchanged.</param>
    /// <param name="first">The target to begin with: ranks that begin at different ones do not crowd one reader.</param>
    /// <param name="eventId">The caller's name for the dispatch.</param>
    /// <param name="note">The caller's word.</param>
    /// <param name="skipped">A target that gets an empty block, because it has the rows; -1 for none.</param>
    public void Write(RoutePlan plan, ReadOnlySpan<nint> sources, bool encoded, int first, uint eventId, ulong note, int skipped = -1)
    {
        int targets = exchange.Targets.Length;
        for (int turn = 0; turn < targets; turn++)
        {
            int target = (first + turn) % targets;
            byte* room = exchange.Room(target);
            if (target == skipped)
            {
                new Span<int>(room, segments).Clear();
                exchange.Announce(target, eventId, 0, block.Rows, note);
                continue;
            }
            plan.SegmentCounts(target).CopyTo(new Span<int>(room, segments));
            ReadOnlySpan<int> tokens = plan.Rows(target);
            bool stream = (long)tokens.Length * format.WireBytes >= BlockCopy.LargeBytes;
            int* slots = (int*)(room + block.Slots);
            byte* row = room + block.Rows;
            foreach (int token in tokens)
            {
                for (int k = 0; k < shape.TopK; k++)
                    *slots++ = plan.LocalSlot(target, token, k);
                if (encoded)
                    BlockCopy.Run(row, (byte*)sources[token], format.WireBytes);
                else
                    format.Encode(row, (byte*)sources[token], stream);
                row += format.WireBytes;
            }
            if (stream)
                BlockCopy.EndStream();
            exchange.Announce(target, eventId, tokens.Length, row - room, note);
        }
        exchange.EndWriting();
    }
}
