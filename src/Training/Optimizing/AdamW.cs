using TorchSharp;
using XDeepServe.Training.Network;
using static TorchSharp.torch;

namespace XDeepServe.Training.Optimizing;

/// <summary>AdamW (decoupled weight decay) over a network's flat buffers: masters and moments in float32, a handful of operations a step.</summary>
/// <param name="weights">What it changes; stay the caller's.</param>
/// <param name="settings">Betas, epsilon, decay and clipping.</param>
public sealed class AdamW(TrainedWeights weights, TrainingSettings settings) : IDisposable
{
    // In float32 gradients add up where autograd puts them; in bfloat16 each batch's are added here, in float32.
    private readonly Tensor sum = weights.Type == ScalarType.Float32 ? weights.Gradients : zeros_like(weights.Masters).DetachFromDisposeScope();

    /// <summary>Running mean of the gradients, float32 <c>[trained]</c>.</summary>
    public Tensor First { get; } = zeros_like(weights.Masters).DetachFromDisposeScope();

    /// <summary>Running mean of their squares, float32 <c>[trained]</c>.</summary>
    public Tensor Second { get; } = zeros_like(weights.Masters).DetachFromDisposeScope();

    /// <summary>Steps done.</summary>
    public int Steps { get; set; }

    /// <summary>Takes a batch's gradients in.</summary>
    public void Accumulate()
    {
        if (ReferenceEquals(sum, weights.Gradients))
            return;
        using DisposeScope scope = NewDisposeScope();
        using IDisposable unrecorded = no_grad();
        sum.add_(weights.Gradients);
        weights.Gradients.zero_();
    }

    /// <summary>One step along the gradients taken in since the last one; they are cleared.</summary>
    /// <param name="rate">Learning rate.</param>
    /// <returns>Length of the gradient before clipping. If it is no number, nothing has changed.</returns>
    public double Step(double rate)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable unrecorded = no_grad();
        double length = sum.norm().item<float>();
        if (!double.IsFinite(length))
            return length;
        if (settings.MaxGradNorm > 0 && length > settings.MaxGradNorm)
            sum.mul_(settings.MaxGradNorm / (length + 1e-6));
        Steps++;
        First.mul_(settings.AdamBeta1).add_(sum, 1 - settings.AdamBeta1);
        Second.mul_(settings.AdamBeta2).addcmul_(sum, sum, 1 - settings.AdamBeta2);
        if (settings.WeightDecay > 0 && weights.Decayed > 0)
            weights.Masters.narrow(0, 0, weights.Decayed).mul_(1 - rate * settings.WeightDecay);
        double first = 1 - Math.Pow(settings.AdamBeta1, Steps), second = 1 - Math.Pow(settings.AdamBeta2, Steps);
        Tensor scale = Second.sqrt().div_(Math.Sqrt(second)).add_(settings.AdamEpsilon);
        weights.Masters.addcdiv_(First, scale, -rate / first);
        sum.zero_();
        weights.Refresh();
        return length;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!ReferenceEquals(sum, weights.Gradients))
            sum.Dispose();
        First.Dispose();
        Second.Dispose();
    }
}
