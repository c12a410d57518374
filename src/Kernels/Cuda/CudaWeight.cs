namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// A weight on the GPU: rows of all groups one behind the other, each padded with zeros to a multiple of 32 columns; 8-bit blocks
/// as bytes, with their scales (half precision) in a plane of their own.
/// </summary>
internal sealed class CudaWeight : Weight
{
    private readonly DeviceBuffer values;
    private readonly DeviceBuffer? scales;

    /// <summary>Takes the memory; the values come later.</summary>
    public CudaWeight(Driver driver, ElementType type, int groups, int rows, int columns)
        : base(type, groups, rows, columns)
    {
        Stride = (columns + 31) / 32 * 32;
        long count = (long)groups * rows * Stride;
        values = new DeviceBuffer(driver, type == ElementType.Q8_0 ? count : type.Bytes(count), "weights");
        scales = type == ElementType.Q8_0 ? new DeviceBuffer(driver, count / 32 * 2, "weights") : null;
    }

    /// <summary>Columns from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>How kernel texts name the type: 0 singles, 1 bfloat16, 2 8-bit blocks.</summary>
    public int Kind => Type switch { ElementType.F32 => 0, ElementType.BF16 => 1, _ => 2 };

    /// <summary>Values, scales and stride.</summary>
    public (nint Values, nint Scales, int Stride) View => (values.Address, scales?.Address ?? 0, Stride);

    /// <summary>Takes another weight's values for a matrix, on a stream.</summary>
    public void Replace(int group, CudaWeight source, int from, Driver driver, nint stream)
    {
        long count = (long)Rows * Stride, bytes = Type == ElementType.Q8_0 ? count : Type.Bytes(count);
        driver.CopyAcross(values.Address + (nint)(group * bytes), source.values.Address + (nint)(from * bytes), bytes, stream);
        if (scales is not null)
            driver.CopyAcross(scales.Address + (nint)(group * count / 32 * 2), source.scales!.Address + (nint)(from * count / 32 * 2), count / 32 * 2, stream);
    }

    /// <inheritdoc/>
    protected override void Release()
    {
        values.Dispose();
        scales?.Dispose();
    }
}
