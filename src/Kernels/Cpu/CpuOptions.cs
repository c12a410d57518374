namespace XDeepServe.Kernels.Cpu;

/// <summary>Which instructions the 8-bit products use.</summary>
public enum CpuPath
{
    /// <summary>The widest that this processor has.</summary>
    Auto,
    /// <summary>512-bit vectors (AVX-512 BW).</summary>
    Avx512,
    /// <summary>256-bit vectors (AVX2).</summary>
    Avx2,
    /// <summary>Nothing beyond what .NET offers on every processor.</summary>
    Portable,
}

/// <summary>Settings of <see cref="CpuBackend"/>.</summary>
/// <param name="Threads">Threads that compute, the caller's included; 0 for all cores this process may use.</param>
/// <param name="Path">Instructions of the 8-bit products; all give the same bits.</param>
/// <param name="PinThreads">Bind threads that compute to cores of their own, see <paramref name="FirstCore"/>.</param>
/// <param name="Activations">F32, or BF16 to round every value that an operation writes; buffers hold singles either way.</param>
/// <param name="FirstCore">
/// Threads are bound to as many cores from this one on, counted among those this process may use: several backends share a processor so.
/// Null: from the first on if there are as many threads as cores, and to none otherwise, because others will want the rest.
/// </param>
public sealed record CpuOptions(
    int Threads = 0, CpuPath Path = CpuPath.Auto, bool PinThreads = true, ElementType Activations = ElementType.F32,
    int? FirstCore = null);
