namespace XDeepServe.Training.Network;

/// <summary>Low-rank adapters: beside a frozen projection W, <c>x Wᵀ + scale · (x Aᵀ) Bᵀ</c> with A <c>[rank, in]</c> and B <c>[out, rank]</c>.</summary>
/// <param name="Rank">Rows of A.</param>
/// <param name="Alpha">Numerator of the scale.</param>
/// <param name="Targets">Last part of the projections' names, such as q_proj.</param>
public sealed record LoraSettings(int Rank, double Alpha, IReadOnlyList<string> Targets)
{
    /// <summary>Behind a projection's name: its A.</summary>
    public const string Down = ".lora_A.weight";

    /// <summary>Behind a projection's name: its B.</summary>
    public const string Up = ".lora_B.weight";

    /// <summary>Factor on the adapter's output.</summary>
    public double Scale => Alpha / Rank;

    /// <summary>Whether a weight gets an adapter.</summary>
    public bool Takes(string weight) => Targets.Any(target => weight.EndsWith($".{target}.weight", StringComparison.Ordinal));
}
