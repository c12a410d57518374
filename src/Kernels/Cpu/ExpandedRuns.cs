namespace XDeepServe.Kernels.Cpu;

/// <summary>Keys and values of one head, made from the latents a partition at a time in memory of the worker.</summary>
internal readonly unsafe struct ExpandedRuns(PagedRuns latents, ElementType type, RowWeight expand, int head, LatentShape shape, int blockSize, float* made) : IKeyRuns
{
    private int KeyWidth => shape.Plain + shape.Rope;

    private float* ValueStart => made + QueryTiles.Partition * KeyWidth;

    private float* LatentStart => ValueStart + QueryTiles.Partition * shape.Value;

    /// <inheritdoc/>
    public static bool Scattered => false;

    /// <inheritdoc/>
    public int Length => QueryTiles.Partition;

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
        int width = shape.Rank + shape.Rope;
        for (int start = 0; start < count; start += blockSize)
        {
            int length = Math.Min(blockSize, count - start);
            KeyRun rows = latents.Keys(first + start);
            for (int i = 0; i < length; i++)
            {
                Span<float> target = new(LatentStart + (start + i) * width, width);
                if (type == ElementType.BF16)
                    BFloat16.ToSingle(new ReadOnlySpan<ushort>(rows.Row(i), width), target);
                else
                    new ReadOnlySpan<float>(rows.Row(i), width).CopyTo(target);
            }
        }
        int firstRow = head * (shape.Plain + shape.Value);
        Tensor from = new((nint)LatentStart, ElementType.F32, count, shape.Rank, width);
        RowProduct.Multiply(from, expand, firstRow, new Tensor((nint)made, ElementType.F32, count, shape.Plain, KeyWidth));
        RowProduct.Multiply(from, expand, firstRow + shape.Plain, new Tensor((nint)ValueStart, ElementType.F32, count, shape.Value, shape.Value));
        for (int i = 0; i < count; i++)
            new ReadOnlySpan<float>(LatentStart + i * width + shape.Rank, shape.Rope).CopyTo(new Span<float>(made + i * KeyWidth + shape.Plain, shape.Rope));
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first) => new((nint)made, (long)KeyWidth * sizeof(float));

    /// <inheritdoc/>
    public KeyRun Values(int first) => new((nint)ValueStart, (long)shape.Value * sizeof(float));
}
