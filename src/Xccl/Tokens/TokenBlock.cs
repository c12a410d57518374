using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Tokens;

/// <summary>Offsets within a block of tokens: rows of each segment, then slots of each row and expert, then the rows.</summary>
internal readonly struct TokenBlock
{
    private readonly int topK, wireBytes;

    /// <summary>Derives the offsets.</summary>
    /// <param name="shape">Shape of the rows.</param>
    /// <param name="segments">Ranks whose tokens one block can carry.</param>
    public TokenBlock(TokenShape shape, int segments)
    {
        long capacity = (long)segments * shape.MaxTokens;
        topK = shape.TopK;
        wireBytes = shape.Dispatch.WireBytes;
        Slots = Aligned(segments * sizeof(int));
        Rows = Aligned(Slots + (capacity * topK * sizeof(int)));
        Bytes = Rows + (capacity * wireBytes);
    }

    /// <summary>int32[rows, topK]: expert slots of the receiving rank, -1 for an expert elsewhere. (int32[segments] lies before.)</summary>
    public long Slots { get; }

    /// <summary>Wire rows.</summary>
    public long Rows { get; }

    /// <summary>Bytes of the whole block.</summary>
    public long Bytes { get; }

    /// <summary>Bytes of a block with this many rows that carry something.</summary>
    public long Used(int segments, int rows) => (segments * sizeof(int)) + ((long)rows * ((topK * sizeof(int)) + wireBytes));

    private static long Aligned(long bytes) => (bytes + RegionLayout.FieldBytes - 1) / RegionLayout.FieldBytes * RegionLayout.FieldBytes;
}
