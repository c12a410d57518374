using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private readonly Transfers transfers;
    private readonly WeightMemory weights;
    private readonly Kernel scatter, take, randomize;
    private WeightUpload? upload;
    private DeviceBuffer? squares; // factors of the piece of 8-bit floats that is being loaded

    /// <inheritdoc/>
    public override void Upload<T>(Tensor destination, ReadOnlySpan<T> source)
    {
        long bytes = (long)source.Length * sizeof(T);
        if (bytes == 0)
            return;
        driver.Enter();
        Settle(); // what waits came first
        fixed (T* from = source)
        {
            if (bytes > Transfers.MostBytes)
            {
                Flush();
                driver.CopyUp(destination.Address, from, bytes, stream);
                // The source may be garbage collected memory: it must be read before this returns.
                driver.Synchronize(stream, "an upload");
                return;
            }
            while (!transfers.TryAdd(destination.Address, from, (int)bytes))
                Flush();
        }
    }

    /// <inheritdoc/>
    public override void Download<T>(Tensor source, Span<T> destination)
    {
        driver.Enter();
        Settle();
        Flush();
        fixed (T* to = destination)
            transfers.Down(to, source.Address, (long)destination.Length * sizeof(T));
    }

    /// <inheritdoc/>
    public override bool TryBeginDownload<T>(Tensor source, int count)
    {
        driver.Enter();
        Settle();
        Flush();
        return transfers.TryBegin(source.Address, (long)count * sizeof(T));
    }

    /// <inheritdoc/>
    public override bool DownloadIsHere
    {
        get
        {
            driver.Enter();
            return transfers.IsHere;
        }
    }

    /// <inheritdoc/>
    public override void EndDownload<T>(Span<T> destination)
    {
        driver.Enter();
        fixed (T* to = destination)
            transfers.End(to, (long)destination.Length * sizeof(T));
    }

    /// <inheritdoc/>
    public override Weight Prepare(WeightSource source, ElementType target)
    {
        ElementType held = Held(source, target);
        driver.Enter();
        Flush();
        CudaWeight weight = new(weights, held, source.Groups, source.Rows, source.Columns);
        long row = 0;
        upload ??= new WeightUpload(driver, stream);
        foreach (WeightPiece piece in source.Pieces)
        {
            if (piece.Rows == 0)
                continue;
            if (piece.Address == 0)
                Randomize(weight, row, piece);
            else
                Take(weight, row, piece, source.Type, upload);
            row += piece.Rows;
        }
        alone = true;
        return weight;
    }

    /// <inheritdoc/>
    public override Backend Beside() => new CudaBackend(options);

    /// <inheritdoc/>
    public override void Replace(Weight weight, int group, Weight source, int from)
    {
        CheckAlike(weight, group, source, from);
        driver.Enter();
        ((CudaWeight)weight).Replace(group, (CudaWeight)source, from, driver, stream);
        alone = true;
    }

    /// <summary>Singles, bfloat16, 8-bit blocks and a file's 8-bit floats are multiplied as they are; what else there is becomes bfloat16.</summary>
    private static ElementType Held(WeightSource source, ElementType target)
    {
        if (!target.Fits(source.Columns) || !Quantization.CanStore(target))
            target = source.Type;
        return target is ElementType.F32 or ElementType.BF16 or ElementType.Q8_0 || (target == ElementType.F8 && source.Type == ElementType.F8) ? target : ElementType.BF16;
    }

    /// <summary>Launches the uploads that wait.</summary>
    private void Flush()
    {
        if (transfers.Count == 0)
            return;
        ScatterArguments arguments = transfers.Take();
        Launch(scatter, new Grid(arguments.Count), Threads, arguments);
        transfers.Launched();
    }

    private void Randomize(CudaWeight weight, long row, WeightPiece piece)
    {
        RandomArguments arguments = new(View(weight), row, piece.Rows, piece.Seed, MathF.Sqrt(3f / weight.Columns) / (1 << 15), weight.Kind);
        Launch(randomize, new Grid((int)Math.Min(1 << 20, ((long)piece.Rows * weight.Stride / 32 + Threads - 1) / Threads)), Threads, arguments);
    }

    /// <summary>Rows go through pinned memory to the GPU in runs, and are laid out there.</summary>
    private void Take(CudaWeight weight, long row, WeightPiece piece, ElementType type, WeightUpload upload)
    {
        int source = type switch
        {
            ElementType.F32 => 0,
            ElementType.BF16 => 1,
            ElementType.Q8_0 => 2,
            ElementType.F16 => 3,
            ElementType.F8 when weight.Type == ElementType.F8 => 4,
            _ => -1,
        };
        // Formats that only the host reads are widened by it on the way.
        long rowBytes = source < 0 ? ElementType.F32.Bytes(weight.Columns) : type.Bytes(weight.Columns);
        if (rowBytes > WeightUpload.Bytes)
            throw new ArgumentException($"A weight's row of {weight.Columns} values is longer than can be loaded.");
        int run = (int)Math.Clamp(WeightUpload.Bytes / rowBytes, 1, piece.Rows);
        nint factors = 0;
        if (source == 4)
        {
            long bytes = 4 * type.Factors(piece.Rows, weight.Columns);
            driver.CopyUp(factors = Ensure(ref squares, bytes, "factors of weights"), (void*)piece.Factors, bytes, stream);
        }
        for (int done = 0; done < piece.Rows; done += run)
        {
            int count = Math.Min(run, piece.Rows - done);
            nint raw = source < 0
                ? upload.SendWidened(type, piece, done, count, weight.Columns)
                : upload.Send((byte*)piece.Address + done * rowBytes, count * rowBytes);
            TakeArguments arguments = new(View(weight), raw, factors, row + done, count, done, Math.Max(0, source), weight.Kind);
            Launch(take, new Grid((int)(((long)count * weight.Stride / 32 + Threads - 1) / Threads)), Threads, arguments);
            upload.Sent();
        }
        piece.File?.DropPages(piece.Address, type.Bytes((long)weight.Columns * piece.Rows));
    }

    private readonly record struct TakeArguments(WeightView Weight, nint From, nint Factors, long First, long Count, int Before, int Source, int Kind);

    private readonly record struct RandomArguments(WeightView Weight, long First, long Count, ulong Seed, float Scale, int Kind);
}
