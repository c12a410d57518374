namespace XDeepServe.Kernels.Cuda;

/// <summary>A piece of GPU memory with an owner.</summary>
internal sealed class DeviceBuffer(Driver driver, long bytes, string what) : IDisposable
{
    /// <summary>First byte.</summary>
    public nint Address { get; private set; } = driver.Allocate(bytes, what);

    /// <summary>Length.</summary>
    public long Bytes => bytes;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Address == 0)
            return;
        driver.Enter();
        driver.Free(Address);
        Address = 0;
    }
}
