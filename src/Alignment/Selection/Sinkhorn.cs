using System.Globalization;
using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Selection;

/// <summary>How entropic transport is solved.</summary>
public sealed record SinkhornSettings
{
    /// <summary>Regularisation as a share of the mean cost.</summary>
    public double Regularisation { get; init; } = 0.02;

    /// <summary>Relative L1 error of the row sums at which it stops.</summary>
    public double Tolerance { get; init; } = 1e-4;

    /// <summary>Passes over the costs at most.</summary>
    public int MostPasses { get; init; } = 2000;

    /// <summary>Threads that take part.</summary>
    public int Threads { get; init; } = 1;
}

/// <summary>A solved plan γ between uniform measures, as what ranks and what vouches for it.</summary>
/// <param name="RowCosts">n · Σ_j γ_ij C_ij for each row: its mean cost where the plan sends it.</param>
/// <param name="Cost">Σ γ C.</param>
/// <param name="Regularisation">ε, in the unit of the costs.</param>
/// <param name="MarginalError">Σ_j |Σ_i γ_ij − 1/m|, relative to a total mass of 1; the row sums are exact.</param>
/// <param name="Passes">Passes over the costs.</param>
public sealed record TransportPlan(double[] RowCosts, double Cost, double Regularisation, double MarginalError, int Passes)
{
    private const double MostError = 1e-3; // of a plan that can be believed

    /// <summary>How far the row sums were off before each pass that measured it, in the passes' order.</summary>
    public IReadOnlyList<PassError> Errors { get; init; } = [];

    /// <summary>What vouches for it in words, and what to do where it does not hold.</summary>
    public string Account => string.Create(CultureInfo.InvariantCulture,
        $"cost {Cost:F4}, regularisation {Regularisation:G3}, L1 marginal error {MarginalError:E1} after {Passes} passes{(MarginalError > MostError ? "; that is no plan between these sets: raise the regularisation or the passes" : "")}");
}

/// <summary>How far the row sums of a plan were off before a pass.</summary>
/// <param name="Pass">From 1; the first pass over the costs takes their mean and measures nothing.</param>
/// <param name="Regularisation">ε then, in the unit of the costs.</param>
/// <param name="Error">Σ_i |Σ_j γ_ij − 1/n|, relative to a total mass of 1.</param>
public readonly record struct PassError(int Pass, double Regularisation, double Error);

/// <summary>Passes over transport costs between uniform measures, wherever these lie: a row's potential needs its own costs alone, a column's those of all rows.</summary>
public abstract class TransportPasses : IDisposable
{
    /// <summary>Sources.</summary>
    public abstract int Rows { get; }

    /// <summary>Mean of all costs.</summary>
    public abstract double Mean();

    /// <summary>One pass: the potentials of rows first, then those of columns.</summary>
    /// <param name="epsilon">Regularisation, in the unit of the costs.</param>
    /// <param name="measure">Whether the result is wanted.</param>
    /// <returns>How far the row sums were off before: Σ_i a_i |Σ_j γ_ij / a_i − 1|; infinite if it is not wanted.</returns>
    public abstract double Pass(double epsilon, bool measure);

    /// <summary>The plan, with rows made exact once more; what the columns are then off by is its error.</summary>
    /// <param name="epsilon">Regularisation, in the unit of the costs.</param>
    /// <param name="passes">Passes so far.</param>
    public abstract TransportPlan Finish(double epsilon, int passes);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>
/// Log-domain Sinkhorn between uniform measures. The regularisation begins large and is halved, so that small ones are reached warm.
/// </summary>
public static class Sinkhorn
{
    private const int WarmPasses = 8; // at each regularisation above the one asked for

    /// <summary>Solves on the CPU.</summary>
    /// <param name="costs">Finite, not negative.</param>
    /// <param name="settings">How.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="ArgumentException">Settings that cannot be.</exception>
    /// <exception cref="DataException">Costs that cannot be.</exception>
    public static TransportPlan Solve(CostBlocks costs, SinkhornSettings settings, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Threads, 1);
        using HostPasses passes = new(costs, settings.Threads, cancel);
        return Solve(passes, settings);
    }

    /// <summary>Solves.</summary>
    /// <param name="over">The costs, finite and not negative; stays the caller's.</param>
    /// <param name="settings">How.</param>
    /// <exception cref="ArgumentException">Settings that cannot be.</exception>
    /// <exception cref="DataException">Costs that cannot be.</exception>
    public static TransportPlan Solve(TransportPasses over, SinkhornSettings settings)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Regularisation);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Tolerance);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MostPasses, 1);
        double mean = over.Mean();
        if (!double.IsFinite(mean) || mean < 0)
            throw new DataException("Transport costs must be finite and not negative; features hold no NaN and nothing infinite.");
        if (mean == 0)
            return new TransportPlan(new double[over.Rows], 0, 0, 0, 1);
        double target = settings.Regularisation * mean;
        int passes = 1;
        List<PassError> errors = [];
        for (double epsilon = Math.Max(mean, target); ; epsilon = Math.Max(epsilon / 2, target))
        {
            bool last = epsilon <= target;
            for (int pass = 0; passes < settings.MostPasses && (last || pass < WarmPasses); pass++)
            {
                double error = over.Pass(epsilon, measure: pass > 0);
                passes++;
                if (pass > 0)
                    errors.Add(new PassError(passes, epsilon, error));
                if (error < settings.Tolerance)
                    break;
            }
            if (last || passes >= settings.MostPasses)
                return over.Finish(epsilon, passes) with { Errors = errors };
        }
    }
}
