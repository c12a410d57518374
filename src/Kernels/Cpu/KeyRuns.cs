using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cpu;

/// <summary>Columns of one cache tensor: keys, values, or parts of a latent.</summary>
/// <param name="Cache">F32 or BF16 <c>[blocks, heads·blockSize·rowWidth]</c>.</param>
/// <param name="RowWidth">Elements of one position's row.</param>
internal readonly record struct CacheView(Tensor Cache, int RowWidth);

/// <summary>Rows one behind the other: the first one and the bytes from one to the next.</summary>
/// <param name="Start">First row.</param>
/// <param name="Stride">Bytes from the start of one row to the next.</param>
internal readonly unsafe record struct KeyRun(nint Start, long Stride)
{
    /// <summary>A row.</summary>
    public byte* Row(int row) => (byte*)Start + row * Stride;
}

/// <summary>Runs of keys and values that lie one behind the other.</summary>
internal interface IKeyRuns
{
    /// <summary>Whether runs lie far apart in memory.</summary>
    static abstract bool Scattered { get; }

    /// <summary>Positions in a run; divides <see cref="QueryTiles.Partition"/>.</summary>
    int Length { get; }

    /// <summary>Makes a partition's positions readable.</summary>
    void Enter(int first, int count);

    /// <summary>Keys of the run that begins at a position.</summary>
    KeyRun Keys(int first);

    /// <summary>Values of the run that begins at a position.</summary>
    KeyRun Values(int first);
}

/// <summary>The runs of one head of an item whose rows lie one behind the other, F32.</summary>
/// <param name="keys">First key.</param>
/// <param name="keyStride">Elements from one to the next.</param>
/// <param name="values">First value.</param>
/// <param name="valueStride">Elements from one to the next.</param>
internal readonly unsafe struct ItemRuns(float* keys, int keyStride, float* values, int valueStride) : IKeyRuns
{
    /// <inheritdoc/>
    public static bool Scattered => false;

    /// <inheritdoc/>
    public int Length => QueryTiles.Partition;

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first) => new((nint)(keys + (long)first * keyStride), (long)keyStride * sizeof(float));

    /// <inheritdoc/>
    public KeyRun Values(int first) => new((nint)(values + (long)first * valueStride), (long)valueStride * sizeof(float));
}

/// <summary>The runs of one head in a paged cache: a run is a block.</summary>
internal readonly unsafe struct PagedRuns(CacheView keys, CacheView values, PagedBatch batch, int sequence, int head) : IKeyRuns
{
    /// <inheritdoc/>
    public static bool Scattered => true;

    /// <inheritdoc/>
    public int Length => batch.BlockSize;

    /// <inheritdoc/>
    public void Enter(int first, int count)
    {
    }

    /// <inheritdoc/>
    public KeyRun Keys(int first) => Run(keys, first);

    /// <inheritdoc/>
    public KeyRun Values(int first) => Run(values, first);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private KeyRun Run(CacheView view, int first)
    {
        int place = first / batch.BlockSize, elementBytes = view.Cache.Type == ElementType.BF16 ? sizeof(ushort) : sizeof(float);
        int* blocks = (int*)batch.Blocks.Address + (long)sequence * batch.Blocks.Stride;
        long stride = (long)view.RowWidth * elementBytes, offset = (long)head * batch.BlockSize * stride;
        return new KeyRun((nint)(view.Cache.Address + blocks[place] * (long)view.Cache.Stride * elementBytes + offset), stride);
    }
}
