namespace XDeepServe.FlowServe.Balancing;

/// <summary>What prefill costs on one DP group: seconds = steps·Step + tokens·Token + pairs·Pair.</summary>
/// <param name="Step">Seconds that a step takes whatever it computes.</param>
/// <param name="Token">Seconds for each token.</param>
/// <param name="Pair">Seconds for each pair of a token and a position that it attends to.</param>
public readonly record struct PrefillCost(double Step, double Token, double Pair)
{
    /// <summary>Pairs of tokens <paramref name="start"/> to <paramref name="start"/> + <paramref name="count"/> - 1 with all positions up to their own.</summary>
    public static double Pairs(int start, int count) => count * (start + (count + 1) / 2.0);

    /// <summary>Predicted seconds of work that shares its steps with other work.</summary>
    /// <param name="tokens">Tokens to compute.</param>
    /// <param name="pairs">Their pairs.</param>
    /// <param name="stepTokens">Most tokens of a step.</param>
    public double Seconds(double tokens, double pairs, int stepTokens) => Step * tokens / stepTokens + Token * tokens + Pair * pairs;

    /// <summary>Predicted seconds of the rest of a prompt.</summary>
    /// <param name="prompt">Tokens of the prompt.</param>
    /// <param name="hits">Tokens at its beginning that need not be computed.</param>
    /// <param name="stepTokens">Most tokens of a step.</param>
    public double Prompt(int prompt, int hits, int stepTokens)
    {
        // At least one token is computed: something must be sampled from.
        int start = Math.Min(hits, prompt - 1);
        return Seconds(prompt - start, Pairs(start, prompt - start), stepTokens);
    }
}
