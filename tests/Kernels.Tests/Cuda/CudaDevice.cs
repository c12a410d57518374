using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Kernels.Tests.Cuda;

/// <summary>The GPU that the tests of this folder share; tests skip where there is none.</summary>
public sealed class CudaDevice : IDisposable
{
    private readonly string? absence;
    private readonly CudaBackend? singles, halves;

    public CudaDevice()
    {
        try
        {
            string cache = Path.Combine(Path.GetTempPath(), "xds-kernels");
            singles = new CudaBackend(new CudaOptions(CacheFolder: cache) { WeightsApart = true });
            halves = new CudaBackend(new CudaOptions(Activations: ElementType.BF16, CacheFolder: cache) { WeightsApart = true });
        }
        catch (CudaException failure)
        {
            absence = failure.Message;
        }
    }

    /// <summary>Whether to take small sizes, as a sanitizer needs, under which a kernel takes hundreds of times as long (XDS_CUDA_SMALL=1).</summary>
    public static bool Small => Environment.GetEnvironmentVariable("XDS_CUDA_SMALL") == "1";

    /// <summary>Memory, values and comparisons for one test; skips it where there is no GPU.</summary>
    /// <param name="seed">Of the values.</param>
    /// <param name="activations">F32 or BF16.</param>
    internal Mirror Open(int seed, ElementType activations = ElementType.F32)
    {
        Assert.SkipWhen(absence is not null, absence ?? "");
        return new Mirror(seed, activations == ElementType.F32 ? singles! : halves!);
    }

    public void Dispose()
    {
        singles?.Dispose();
        halves?.Dispose();
    }
}

/// <summary>Runs these tests one after another on one device.</summary>
[CollectionDefinition("cuda")]
public sealed class CudaTests : ICollectionFixture<CudaDevice>;
