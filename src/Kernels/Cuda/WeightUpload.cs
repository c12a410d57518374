namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// Brings runs of a mapped file to the GPU: while one run is copied there, the next is read into the other half of the pinned
/// memory. Owns two pinned and two GPU buffers.
/// </summary>
internal sealed unsafe class WeightUpload(Driver driver, nint stream) : IDisposable
{
    /// <summary>Longest run.</summary>
    public const long Bytes = 16 << 20;

    private const int Parts = 4;
    private readonly nint[] pinned = new nint[2], ended = new nint[2];
    private readonly DeviceBuffer?[] raw = new DeviceBuffer?[2];
    private int turn;

    /// <summary>Copies a run; its address on the GPU is good until <see cref="Sent"/> was called twice more.</summary>
    public nint Send(byte* from, long bytes)
    {
        nint to = Next();
        long part = (bytes + Parts - 1) / Parts;
        // Several threads, because the first touch of a mapped page waits for the file.
        Parallel.For(0, Parts, i =>
        {
            long start = Math.Min(bytes, i * part), end = Math.Min(bytes, start + part);
            Buffer.MemoryCopy(from + start, (byte*)to + start, end - start, end - start);
        });
        driver.CopyUp(raw[turn]!.Address, (void*)to, bytes, stream);
        return raw[turn]!.Address;
    }

    /// <summary>The same with rows that become singles on the way.</summary>
    public nint SendWidened(ElementType type, WeightPiece piece, int first, int count, int columns)
    {
        nint to = Next();
        int rowBytes = (int)type.Bytes(columns);
        Parallel.For(0, count, i =>
        {
            (long factor, int factors) = type.FactorsOf(first + i, columns);
            Quantization.Restore(
                type, new ReadOnlySpan<byte>((byte*)piece.Address + (long)(first + i) * rowBytes, rowBytes),
                new Span<float>((float*)to + (long)i * columns, columns), new ReadOnlySpan<float>((float*)piece.Factors + factor, factors));
        });
        driver.CopyUp(raw[turn]!.Address, (void*)to, 4L * count * columns, stream);
        return raw[turn]!.Address;
    }

    /// <summary>Marks the run as taken, after the launch that reads it.</summary>
    public void Sent()
    {
        driver.Record(ended[turn], stream);
        turn = 1 - turn;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < 2; i++)
        {
            if (raw[i] is not { } buffer)
                continue;
            driver.Await(ended[i], "loading weights");
            driver.FreeHost(pinned[i]);
            driver.DestroyEvent(ended[i]);
            buffer.Dispose();
        }
    }

    /// <summary>Pinned memory that the GPU has read.</summary>
    private nint Next()
    {
        if (raw[turn] is null)
        {
            pinned[turn] = driver.AllocateHost(Bytes);
            raw[turn] = new DeviceBuffer(driver, Bytes, "loading weights");
            ended[turn] = driver.CreateEvent();
        }
        else
        {
            driver.Await(ended[turn], "loading weights");
        }
        return pinned[turn];
    }
}
