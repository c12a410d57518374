using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace XDeepServe.Training.Losses;

/// <summary>Losses of a difference Δ between the better and the worse, element by element.</summary>
public static class PairLoss
{
    /// <summary>
    /// <c>−log σ(Δ) + weight · Δ</c>: two-class cross-entropy with targets (1 − weight, weight). Its minimum lies at
    /// log((1 − weight) / weight); at weight 0 it is the Bradley-Terry loss.
    /// </summary>
    /// <param name="difference">Δ, any shape.</param>
    /// <param name="weight">The other class's target (<see cref="Smoothing.Weight"/>).</param>
    public static Tensor Smoothed(Tensor difference, double weight) => softplus(-difference) + difference * weight;

    /// <summary>
    /// Plackett-Luce: <c>−Σᵢ log(e^{rᵢ} / Σ_{j≥i} e^{rⱼ})</c> over answers from the best to the worst.
    /// </summary>
    /// <param name="rewards"><c>[examples, answers]</c></param>
    /// <returns><c>[examples]</c></returns>
    public static Tensor PlackettLuce(Tensor rewards)
    {
        // Sums from i to the end, from a running log-sum-exp over the reversed order.
        Tensor behind = rewards.flip(1).logcumsumexp(1).flip(1);
        return (behind - rewards).sum(1);
    }
}

/// <summary>Label smoothing between two classes.</summary>
public enum SmoothingForm
{
    /// <summary>Targets (1 − ε, ε): GRAM's formula.</summary>
    TwoPoint,

    /// <summary>Targets (1 − ε/2, ε/2): PyTorch's label_smoothing with two classes, which GRAM's released code uses.</summary>
    PyTorch,
}

/// <summary>How much label smoothing.</summary>
/// <param name="Epsilon">ε, from 0 to below ½.</param>
/// <param name="Form">What ε means.</param>
public readonly record struct Smoothing(double Epsilon, SmoothingForm Form)
{
    /// <summary>Target of the class that is not preferred.</summary>
    public double Weight => Form == SmoothingForm.TwoPoint ? Epsilon : Epsilon / 2;
}
