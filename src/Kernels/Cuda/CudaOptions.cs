namespace XDeepServe.Kernels.Cuda;

/// <summary>Settings of the CUDA backend.</summary>
/// <param name="Device">Number of the GPU, from 0.</param>
/// <param name="Activations">F32: products take singles as two bfloat16 halves; BF16: products take bfloat16, twice as fast in prefill. Sums and the residual stream are singles either way.</param>
/// <param name="CacheFolder">Folder for compiled kernels; null to compile at every start.</param>
/// <param name="Warn">Is told what does not stop the start, such as a folder that cannot be written; null for nobody.</param>
public sealed record CudaOptions(int Device = 0, ElementType Activations = ElementType.F32, string? CacheFolder = null, Action<string>? Warn = null)
{
    /// <summary>Whether every weight has memory for itself, so that a sanitizer sees what is read behind its end.</summary>
    internal bool WeightsApart { get; init; }
}
