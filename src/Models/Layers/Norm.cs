using XDeepServe.Kernels;

namespace XDeepServe.Models.Layers;

/// <summary>A norm of whole rows: by the root of the mean square, or, if centred, to mean 0 and variance 1.</summary>
/// <param name="gain">F32 <c>[1, hidden]</c>.</param>
/// <param name="epsilon">Added to the mean square or the variance.</param>
/// <param name="centred">Whether the mean is taken off (LayerNorm).</param>
/// <param name="bias">F32 <c>[1, hidden]</c>, of a centred norm; may be empty.</param>
public sealed class Norm(Tensor gain, float epsilon, bool centred = false, Tensor bias = default)
{
    /// <summary>output = norm(input). May run in place.</summary>
    public void Run(Backend backend, Tensor output, Tensor input)
    {
        if (centred)
            backend.LayerNorm(output, input, gain, bias, epsilon);
        else
            backend.RmsNorm(output, input, gain, epsilon);
    }

    /// <summary>residual += delta, then output = norm(residual).</summary>
    public void AddAndRun(Backend backend, Tensor output, Tensor residual, Tensor delta)
    {
        if (centred)
            backend.AddLayerNorm(output, residual, delta, gain, bias, epsilon);
        else
            backend.AddRmsNorm(output, residual, delta, gain, epsilon);
    }
}
