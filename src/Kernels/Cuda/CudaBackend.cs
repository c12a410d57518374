using System.Runtime.CompilerServices;

namespace XDeepServe.Kernels.Cuda;

/// <summary>
/// An NVIDIA GPU as a backend. Operations are launched on one stream and run in order; the host waits in
/// <see cref="Synchronize"/> and <see cref="Download{T}"/> alone. Kernels are texts compiled at the first start.
/// </summary>
public sealed unsafe partial class CudaBackend : Backend
{
    private const int Threads = 256;
    private readonly CudaOptions options;
    private readonly Driver driver;
    private readonly KernelLibrary library;
    private readonly nint stream;
    private readonly bool splits; // products take singles as two bfloat16 halves
    private bool alone; // weights are being written: the next launch must not start before that has ended

    /// <summary>Opens the GPU.</summary>
    /// <exception cref="CudaException">There is no usable driver or GPU; says what to do.</exception>
    public CudaBackend(CudaOptions options)
    {
        if (options.Activations is not (ElementType.F32 or ElementType.BF16))
            throw new ArgumentException($"Activations are F32 or BF16, not {options.Activations}.", nameof(options));
        this.options = options;
        splits = options.Activations == ElementType.F32;
        driver = Driver.Open(options.Device);
        if (driver.Architecture < 80)
            throw new CudaException($"{driver.Name} has compute capability {driver.Architecture / 10}.{driver.Architecture % 10}; 8.0 or later is needed. Use --device cpu.");
        driver.Enter();
        stream = driver.CreateStream();
        library = new KernelLibrary(driver, new KernelCache(options.CacheFolder, options.Warn));
        transfers = new Transfers(driver, stream);
        weights = new WeightMemory(TakeWeights, GiveWeights, options.WeightsApart);
        (scatter, take, randomize) = (Entry("Memory.cu", "scatter"), Entry("Memory.cu", "take"), Entry("Memory.cu", "randomize"));
        (gatherTokens, embed, gatherRows) = (Entry("Rows.cu", "gatherTokens"), Entry("Rows.cu", "embed"), Entry("Rows.cu", "gatherRows"));
        (rmsNorm, add, rope, swiGlu) = (Entry("Rows.cu", "rmsNorm"), Entry("Rows.cu", "add"), Entry("Rows.cu", "rope"), Entry("Rows.cu", "swiGlu"));
        (combine, writeCache, prepareHeads) = (Entry("Rows.cu", "combine"), Entry("Rows.cu", "writeCache"), Entry("Rows.cu", "prepareHeads"));
        (copyRows, layerNorm, gelu) = (Entry("Rows.cu", "copyRows"), Entry("Rows.cu", "layerNorm"), Entry("Rows.cu", "gelu"));
        combineNorm = Entry("Rows.cu", "combineNorm");
        attendItems = Entry("Plain.cu", "attendItems");
        (singlesFew, singlesGrouped, singlesMany) = (Entry("Singles.cu", "singlesFew"), Entry("Singles.cu", "singlesGrouped"), Entry("Singles.cu", "singlesMany"));
        string[] kinds = [.. Enumerable.Range(1, 3).Select(kind => $"#define KIND {kind}\n")];
        (group, packRows, addBias) = (Entry("Tiles.cu", "group", definitions: kinds[0]), Entry("Tiles.cu", "packRows", definitions: kinds[0]), Entry("Tiles.cu", "addBias", definitions: kinds[0]));
        tiles = [.. kinds.Select((kind, i) => Entry("Tiles.cu", "tiles", TileBytes(i + 1), kind))];
        tilesGated = [.. kinds.Select((kind, i) => Entry("Tiles.cu", "tilesGated", TileBytes(i + 1), kind))];
        restore = [.. kinds.Select(kind => Entry("Tiles.cu", "restore", definitions: kind))];
        attendPlain = Entry("Plain.cu", "attendPlain");
        (attend64, attend128) = (Entry("Attention.cu", "attend64", 64 * DecodeStages), Entry("Attention.cu", "attend128", 128 * DecodeStages));
        (attendMore64, attendMore128) = (Entry("Attention.cu", "attendMore64", 64 * DecodeStages), Entry("Attention.cu", "attendMore128", 128 * DecodeStages));
        (prefill64, prefill128) = (Entry("Prefill.cu", "prefill64", 64 * PrefillStages), Entry("Prefill.cu", "prefill128", 128 * PrefillStages));
        (absorb, release) = (Entry("Absorption.cu", "absorb"), Entry("Absorption.cu", "release"));
        (attendLatent, attendLatentFew) = (Entry("Latent.cu", "attendLatent", LatentBytes), Entry("Latent.cu", "attendLatentFew", LatentBytes));
        (route, rank, sample) = (Entry("Choosing.cu", "route"), Entry("Choosing.cu", "rank"), Entry("Sampling.cu", "sample", MostResident));
        (countExperts, normAndChoose) = (Entry("Choosing.cu", "countExperts"), Entry("Choosing.cu", "normAndChoose", MostStepBytes));
        products = new ProductKernels(library, splits);
        dense = DenseProducts.TryOpen(driver, stream);
    }

    /// <inheritdoc/>
    public override string Description =>
        $"{driver.Name}, {driver.TotalBytes >> 30} GiB, CUDA {driver.Version / 1000}.{driver.Version % 1000 / 10}, {options.Activations} activations{(dense is null ? ", without cuBLASLt" : "")}";

    /// <inheritdoc/>
    public override bool MakesRandomWeights => true;

    /// <summary>Nine tenths of what is free, less room for a step's buffers.</summary>
    public override long CacheLimit
    {
        get
        {
            driver.Enter();
            return Math.Max(256L << 20, driver.FreeBytes() / 10 * 9 - (2L << 30));
        }
    }

    /// <inheritdoc/>
    public override Arena CreateArena(long bytes)
    {
        driver.Enter();
        nint address = driver.Allocate(bytes, "buffers or the cache", "Serve with a smaller --kv-cache-memory-bytes, --max-model-len, --max-num-seqs or --max-num-batched-tokens, or a smaller model.");
        driver.Clear(address, bytes, stream);
        return new Arena(address, bytes, () => Free(address));
    }

    /// <inheritdoc/>
    public override void Synchronize()
    {
        driver.Enter();
        Settle();
        Flush();
        driver.Synchronize(stream, "an earlier operation of this step");
    }

    /// <inheritdoc/>
    protected override void Release()
    {
        driver.Enter();
        driver.Synchronize(stream, "the last operations");
        ForgetGraphs();
        foreach (DeviceBuffer? buffer in (DeviceBuffer?[])[partial, tickets, packed, grouping, gatedRows, absorbedQueries, restored, adjusted, counts, squares])
            buffer?.Dispose();
        upload?.Dispose();
        dense?.Dispose();
        transfers.Dispose();
        library.Dispose();
        driver.DestroyStream(stream);
        driver.Close();
    }

    private void Free(nint address)
    {
        driver.Enter();
        Synchronize();
        driver.Free(address);
    }

    private nint TakeWeights(long bytes)
    {
        driver.Enter();
        return driver.Allocate(bytes, "weights", "End other programs on the GPU, hold the weights in fewer bits (--quantization q8_0), spread them over several GPUs (--topology) or serve a smaller model.");
    }

    // Weights may outlive the backend that made them.
    private void GiveWeights(nint address)
    {
        driver.Enter();
        driver.Free(address);
    }

    private Kernel Entry(string file, string name, int sharedBytes = 0, string definitions = "") => new(library, file, name, sharedBytes, definitions);

    /// <summary>Launches a kernel that takes one struct, laid out as the text's.</summary>
    private void Launch<T>(Kernel kernel, Grid grid, int threads, in T arguments, int sharedBytes = 0) where T : unmanaged
    {
        if (grid.X == 0 || grid.Y == 0 || grid.Z == 0)
            return;
        driver.Enter();
        if (Waits)
            Settle();
        if (transfers.Count > 0)
            Flush();
        LaunchAttribute early = new() { Id = LaunchAttribute.ProgrammaticOrder, Value = 1 };
        LaunchConfiguration configuration = new()
        {
            GridX = (uint)grid.X,
            GridY = (uint)grid.Y,
            GridZ = (uint)grid.Z,
            BlockX = (uint)threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = (uint)sharedBytes,
            Stream = stream,
            Attributes = &early,
            AttributeCount = driver.Architecture >= 90 && !alone ? 1u : 0u,
        };
        (alone, grouped) = (false, default);
        fixed (T* values = &arguments)
        {
            void* first = values;
            driver.Launch(configuration, kernel.Function, &first, kernel.Name);
        }
    }

    /// <summary>Memory that lasts from launch to launch; a larger need replaces it, and graphs that knew the old address are dropped.</summary>
    private nint Ensure(ref DeviceBuffer? buffer, long bytes, string what)
    {
        if (buffer is not null && buffer.Bytes >= bytes)
            return buffer.Address;
        if (capturing)
            throw new CudaException($"{what} grew while a step was captured.");
        Synchronize();
        ForgetGraphs();
        buffer?.Dispose();
        buffer = new DeviceBuffer(driver, Math.Max(bytes, 1 << 16), what);
        driver.Clear(buffer.Address, buffer.Bytes, stream);
        return buffer.Address;
    }

    private static int Up(long count, int size) => (int)((count + size - 1) / size);

    /// <summary>Blocks of a launch.</summary>
    private readonly record struct Grid(int X, int Y = 1, int Z = 1);

    /// <summary>A weight as kernels see it; laid out as the texts' Weight.</summary>
    private readonly record struct WeightView(nint Values, nint Scales, int Groups, int Rows, int Columns, int Stride);

    private static WeightView View(Weight weight) => ((CudaWeight)weight).View is var (values, scales, stride)
        ? new WeightView(values, scales, weight.Groups, weight.Rows, weight.Columns, stride)
        : default;
}
