using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Evaluation;

/// <summary>What a reward model said of a pair.</summary>
/// <param name="Pair">The pair.</param>
/// <param name="ChosenIsBetter">Probability that it gave the chosen answer; null if the pair did not fit the model.</param>
/// <param name="Consistent">Whether both orders gave the same verdict.</param>
public sealed record Verdict(PreferencePair Pair, double? ChosenIsBetter, bool Consistent)
{
    /// <summary>1 for right, 0 for wrong, ½ for a tie and for what could not be read.</summary>
    public double Correct => ChosenIsBetter switch { null or 0.5 => 0.5, > 0.5 => 1, _ => 0 };
}
