namespace XDeepServe.Kernels.Cpu;

/// <summary>Columns of one cache tensor: keys, values, or parts of a latent.</summary>
/// <param name="Cache">F32 or BF16 <c>[blocks, heads·blockSize·rowWidth]</c>.</param>
/// <param name="RowWidth">Elements of one position's row.</param>
/// <param name="Start">First column taken of the row.</param>
/// <param name="Width">Columns taken.</param>
internal readonly record struct CacheView(Tensor Cache, int RowWidth, int Start, int Width);

/// <summary>Rows one behind the other: the first one and the elements from one to the next.</summary>
internal readonly unsafe struct KeyRun(float* start, int stride)
{
    /// <summary>First row.</summary>
    public float* Start => start;

    /// <summary>Elements from the start of one row to the next.</summary>
    public int Stride => stride;
}

/// <summary>Runs of keys and values that lie one behind the other, as singles.</summary>
internal unsafe interface IKeyRuns
{
    /// <summary>Positions in a run; divides <see cref="QueryTiles.Partition"/>.</summary>
    int Length { get; }

    /// <summary>Makes a partition's positions readable.</summary>
    void Enter(int first, int count);

    /// <summary>Keys of the run that begins at a position: address and elements from one to the next.</summary>
    KeyRun Keys(int first, int count, float* buffer);

    /// <summary>Values of the run that begins at a position.</summary>
    KeyRun Values(int first, int count, float* buffer);
}

/// <summary>The runs of one head of an item whose rows lie one behind the other.</summary>
internal readonly unsafe struct ItemRuns(float* keys, int keyStride, float* values, int valueStride) : IKeyRuns
{
    /// <inheritdoc/>
    public int Length => QueryTiles.Partition;

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first, int count, float* buffer) => new(keys + (long)first * keyStride, keyStride);

    /// <inheritdoc/>
    public KeyRun Values(int first, int count, float* buffer) => new(values + (long)first * valueStride, valueStride);
}

/// <summary>The runs of one head in a paged cache: a run is a block.</summary>
internal readonly unsafe struct PagedRuns(CacheView keys, CacheView values, PagedBatch batch, int sequence, int head) : IKeyRuns
{
    /// <inheritdoc/>
    public int Length => batch.BlockSize;

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first, int count, float* buffer) => Run(keys, first, count, buffer);

    /// <inheritdoc/>
    public KeyRun Values(int first, int count, float* buffer) => Run(values, first, count, buffer);

    private KeyRun Run(CacheView view, int first, int count, float* buffer)
    {
        int block = ((int*)batch.Blocks.Address)[(long)sequence * batch.Blocks.Stride + first / batch.BlockSize];
        long at = (long)block * view.Cache.Stride + ((long)head * batch.BlockSize + first % batch.BlockSize) * view.RowWidth + view.Start;
        if (view.Cache.Type != ElementType.BF16)
            return new KeyRun((float*)view.Cache.Address + at, view.RowWidth);
        for (int i = 0; i < count; i++)
            BFloat16.ToSingle(
                new ReadOnlySpan<ushort>((ushort*)view.Cache.Address + at + (long)i * view.RowWidth, view.Width),
                new Span<float>(buffer + i * view.Width, view.Width));
        return new KeyRun(buffer, view.Width);
    }
}
