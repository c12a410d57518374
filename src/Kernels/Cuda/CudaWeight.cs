namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// A weight on the GPU: rows of all groups one behind the other, each padded with zeros to a multiple of 32 columns; bytes (8-bit
/// blocks and 8-bit floats) with their scales in a plane of their own: half precision for each 32 columns of a row, or singles for
/// each 128.
/// </summary>
internal sealed class CudaWeight : Weight
{
    private readonly WeightMemory memory;
    private nint values, scales;

    /// <summary>Takes the memory; the values come later.</summary>
    public CudaWeight(WeightMemory memory, ElementType type, int groups, int rows, int columns)
        : base(type, groups, rows, columns)
    {
        Stride = (columns + 31) / 32 * 32;
        this.memory = memory;
        values = memory.Take((long)groups * rows * RowBytes);
        scales = ScaleBytes > 0 ? memory.Take((long)groups * rows * ScaleBytes) : 0;
    }

    /// <summary>Columns from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>How kernel texts name the type: 0 singles, 1 bfloat16, 2 8-bit blocks, 3 8-bit floats.</summary>
    public int Kind => Type switch { ElementType.F32 => 0, ElementType.BF16 => 1, ElementType.Q8_0 => 2, _ => 3 };

    /// <summary>Values, scales and stride.</summary>
    public (nint Values, nint Scales, int Stride) View => (values, scales, Stride);

    private int RowBytes => Type switch { ElementType.F32 => 4 * Stride, ElementType.BF16 => 2 * Stride, _ => Stride };

    private int ScaleBytes => Type switch { ElementType.Q8_0 => Stride / 32 * 2, ElementType.F8 => (Stride + 127) / 128 * 4, _ => 0 };

    /// <summary>Takes another weight's values for a matrix, on a stream.</summary>
    public void Replace(int group, CudaWeight source, int from, Driver driver, nint stream)
    {
        long bytes = (long)Rows * RowBytes, scaleBytes = (long)Rows * ScaleBytes;
        driver.CopyAcross(values + (nint)(group * bytes), source.values + (nint)(from * bytes), bytes, stream);
        if (scales != 0)
            driver.CopyAcross(scales + (nint)(group * scaleBytes), source.scales + (nint)(from * scaleBytes), scaleBytes, stream);
    }

    /// <inheritdoc/>
    protected override void Release()
    {
        // The next weight in this place is written behind the operations that read this one, on the same stream.
        if (values != 0)
            memory.Give(values);
        if (scales != 0)
            memory.Give(scales);
        (values, scales) = (0, 0);
    }
}
