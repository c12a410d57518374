namespace XDeepServe.FlowServe.Balancing;

/// <summary>
/// Learns what prefill costs from measured steps (paper §4.3 names a cost model without its formula): recursive least squares with
/// forgetting on relative errors, so that short steps count as much as long ones. No coefficient gets negative; before the first
/// step it predicts a slow processor. Allocates nothing after its construction. One thread.
/// </summary>
public sealed class PrefillCostModel
{
    private const int Terms = 3;
    private const double Forgetting = 0.99, Noise = 0.01, Doubt = 100;
    private static readonly PrefillCost s_prior = new(1e-3, 1e-4, 1e-8);
    private readonly double[] factors = [1, 1, 1];                                         // of the prior's coefficients
    private readonly double[] covariance = [Doubt, 0, 0, 0, Doubt, 0, 0, 0, Doubt];        // [3, 3] of the factors
    private readonly double[] row = new double[Terms], spread = new double[Terms];

    /// <summary>What it predicts before it has learned anything: a slow processor.</summary>
    public static PrefillCost Prior => s_prior;

    /// <summary>What it has learned so far.</summary>
    public PrefillCost Cost => new(s_prior.Step * factors[0], s_prior.Token * factors[1], s_prior.Pair * factors[2]);

    /// <summary>Steps seen.</summary>
    public long Steps { get; private set; }

    /// <summary>Learns from a step.</summary>
    /// <param name="tokens">Tokens that it computed.</param>
    /// <param name="pairs">Their pairs, see <see cref="PrefillCost.Pairs"/>.</param>
    /// <param name="seconds">How long it took; a step that took no time teaches nothing.</param>
    public void Observe(int tokens, double pairs, double seconds)
    {
        if (tokens < 1 || !(seconds > 0))
            return;
        Steps++;
        (row[0], row[1], row[2]) = (s_prior.Step / seconds, s_prior.Token * tokens / seconds, s_prior.Pair * pairs / seconds);
        double predicted = 0, variance = Noise;
        for (int i = 0; i < Terms; i++)
        {
            predicted += row[i] * factors[i];
            spread[i] = 0;
            for (int j = 0; j < Terms; j++)
                spread[i] += covariance[i * Terms + j] * row[j];
            variance += row[i] * spread[i];
        }
        for (int i = 0; i < Terms; i++)
            factors[i] += spread[i] / variance * (1 - predicted);
        for (int i = 0; i < Terms; i++)
            for (int j = 0; j < Terms; j++)
                covariance[i * Terms + j] -= spread[i] * spread[j] / variance;
        Forget();
        for (int i = 0; i < Terms; i++)
            if (factors[i] < 0)
                Pin(i);
    }

    /// <summary>Doubts old steps more, but nothing more than at the start: what steps do not tell apart would grow without bound.</summary>
    private void Forget()
    {
        for (int i = 0; i < Terms; i++)
            if (covariance[i * Terms + i] > Doubt * Forgetting)
                return;
        for (int i = 0; i < covariance.Length; i++)
            covariance[i] /= Forgetting;
    }

    /// <summary>The best fit with one factor at zero.</summary>
    private void Pin(int term)
    {
        double excess = factors[term] / covariance[term * Terms + term];
        for (int i = 0; i < Terms; i++)
            factors[i] = i == term ? 0 : Math.Max(0, factors[i] - covariance[i * Terms + term] * excess);
    }
}
