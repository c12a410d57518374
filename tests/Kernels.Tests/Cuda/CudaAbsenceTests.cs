using System.Runtime.InteropServices;
using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Kernels.Tests.Cuda;

/// <summary>Machines without a GPU.</summary>
public sealed class CudaAbsenceTests
{
    [Fact]
    public void Without_a_driver_the_message_says_what_is_missing_and_what_to_do()
    {
        Assert.SkipWhen(NativeLibrary.TryLoad("libcuda.so.1", out _), "There is a driver.");
        string said = Assert.Throws<CudaException>(() => new CudaBackend(new CudaOptions())).Message;
        Assert.Contains("libcuda.so.1", said, StringComparison.Ordinal);
        Assert.Contains("--device cpu", said, StringComparison.Ordinal);
    }
}
