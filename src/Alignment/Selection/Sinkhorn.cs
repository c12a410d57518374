using System.Numerics.Tensors;

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
public sealed record TransportPlan(double[] RowCosts, double Cost, double Regularisation, double MarginalError, int Passes);

/// <summary>
/// Log-domain Sinkhorn between uniform measures. A pass streams over blocks of rows: a row's potential needs its own costs alone,
/// and the columns' log-sum-exps are gathered block by block and joined in the blocks' order, so that the result does not depend
/// on the threads. The regularisation begins large and is halved, so that small ones are reached warm.
/// </summary>
public sealed class Sinkhorn : IDisposable
{
    private const int WarmPasses = 8; // at each regularisation above the one asked for
    private readonly CostBlocks costs;
    private readonly SinkhornSettings settings;
    private readonly double[] f, g;              // potentials of rows and columns
    private readonly float[] columnPotentials;   // g, as the passes read it
    private readonly float[][] maxima, sums;     // [block][columns]: log-sum-exps of the columns within a block
    private readonly ThreadLocal<float[][]> scratch;
    private readonly ParallelOptions parallel;

    private Sinkhorn(CostBlocks costs, SinkhornSettings settings, CancellationToken cancel)
    {
        (this.costs, this.settings) = (costs, settings);
        f = new double[costs.Rows];
        g = new double[costs.Columns];
        columnPotentials = new float[costs.Columns];
        maxima = [.. Enumerable.Range(0, costs.Count).Select(_ => new float[costs.Columns])];
        sums = [.. Enumerable.Range(0, costs.Count).Select(_ => new float[costs.Columns])];
        scratch = new ThreadLocal<float[][]>(() => [new float[CostBlocks.BlockRows * costs.Columns], new float[costs.Columns]]);
        parallel = new ParallelOptions { MaxDegreeOfParallelism = settings.Threads, CancellationToken = cancel };
    }

    /// <summary>Solves.</summary>
    /// <param name="costs">Finite, not negative.</param>
    /// <param name="settings">How.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="ArgumentException">Costs or settings that cannot be.</exception>
    public static TransportPlan Solve(CostBlocks costs, SinkhornSettings settings, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Regularisation);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Tolerance);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.MostPasses, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Threads, 1);
        using Sinkhorn solver = new(costs, settings, cancel);
        return solver.Run();
    }

    /// <inheritdoc/>
    public void Dispose() => scratch.Dispose();

    private TransportPlan Run()
    {
        double[] means = new double[costs.Rows];
        ForRows((row, line, _) => means[row] = TensorPrimitives.Sum(line) / line.Length);
        double mean = means.Average();
        if (!double.IsFinite(mean) || mean < 0)
            throw new ArgumentException("Transport costs must be finite and not negative.");
        if (mean == 0)
            return new TransportPlan(new double[costs.Rows], 0, 0, 0, 1);
        double target = settings.Regularisation * mean;
        int passes = 1;
        for (double epsilon = Math.Max(mean, target); ; epsilon = Math.Max(epsilon / 2, target))
        {
            bool last = epsilon <= target;
            double error = double.PositiveInfinity;
            for (int pass = 0; passes < settings.MostPasses && (last || pass < WarmPasses); pass++, passes++)
            {
                error = Pass(epsilon, measure: pass > 0);
                if (error < settings.Tolerance)
                    break;
            }
            if (last || passes >= settings.MostPasses)
                return Finish(epsilon, passes);
        }
    }

    // Rows first, then columns. Returns how far the row sums were off before: Σ_i a_i |Σ_j γ_ij / a_i − 1|.
    private double Pass(double epsilon, bool measure)
    {
        Spread(g, columnPotentials);
        float inverse = (float)(1 / epsilon);
        double logRows = Math.Log(costs.Rows);
        double[] off = new double[costs.Count];
        Parallel.For(0, costs.Count, parallel, block =>
        {
            float[] line = scratch.Value![1];
            ReadOnlySpan<float> values = costs.Block(block, scratch.Value[0]);
            int columns = costs.Columns, first = block * CostBlocks.BlockRows, rows = costs.RowsOf(block);
            for (int row = 0; row < rows; row++)
            {
                double potential = epsilon * (-logRows - LogSum(values.Slice(row * columns, columns), inverse, line));
                off[block] += Math.Abs(Math.Exp((f[first + row] - potential) / epsilon) - 1) / costs.Rows;
                f[first + row] = potential;
            }
            Span<float> most = maxima[block], sum = sums[block];
            most.Fill(float.NegativeInfinity);
            sum.Clear();
            for (int row = 0; row < rows; row++)
            {
                Exponents(values.Slice(row * columns, columns), (float)f[first + row], inverse, line);
                TensorPrimitives.Max(most, line, most);
            }
            for (int row = 0; row < rows; row++)
            {
                Exponents(values.Slice(row * columns, columns), (float)f[first + row], inverse, line);
                TensorPrimitives.Subtract(line, most, line);
                TensorPrimitives.Exp(line, line);
                TensorPrimitives.Add(sum, line, sum);
            }
        });
        double logColumns = Math.Log(costs.Columns);
        for (int column = 0; column < g.Length; column++)
            g[column] = epsilon * (-logColumns - LogSum(column));
        return measure ? off.Sum() : double.PositiveInfinity;
    }

    // Rows are made exact once more; what the columns are then off by is reported.
    private TransportPlan Finish(double epsilon, int passes)
    {
        Spread(g, columnPotentials);
        float inverse = (float)(1 / epsilon);
        double[] rowCosts = new double[costs.Rows];
        double[][] reached = [.. Enumerable.Range(0, costs.Count).Select(_ => new double[costs.Columns])];
        ForRows((row, values, line) =>
        {
            _ = LogSum(values, inverse, line);
            double total = 0, cost = 0;
            foreach (float weight in line)
                total += weight;
            double[] sum = reached[row / CostBlocks.BlockRows];
            for (int column = 0; column < line.Length; column++)
            {
                double share = line[column] / total;
                cost += share * values[column];
                sum[column] += share / costs.Rows;
            }
            rowCosts[row] = cost;
        });
        double error = 0;
        for (int column = 0; column < costs.Columns; column++)
            error += Math.Abs(reached.Sum(block => block[column]) - (1.0 / costs.Columns));
        return new TransportPlan(rowCosts, rowCosts.Average(), epsilon, error, passes + 1);
    }

    private delegate void RowAction(int row, ReadOnlySpan<float> values, Span<float> line);

    private void ForRows(RowAction action) => Parallel.For(0, costs.Count, parallel, block =>
    {
        ReadOnlySpan<float> values = costs.Block(block, scratch.Value![0]);
        for (int row = 0; row < costs.RowsOf(block); row++)
            action((block * CostBlocks.BlockRows) + row, values.Slice(row * costs.Columns, costs.Columns), scratch.Value[1]);
    });

    // log Σ_j exp((g_j − C_ij) / ε); the line is left with the terms, scaled so that the largest is 1.
    private double LogSum(ReadOnlySpan<float> values, float inverse, Span<float> line)
    {
        TensorPrimitives.Subtract(columnPotentials, values, line);
        TensorPrimitives.Multiply(line, inverse, line);
        float most = TensorPrimitives.Max((ReadOnlySpan<float>)line);
        TensorPrimitives.Subtract(line, most, line);
        TensorPrimitives.Exp(line, line);
        return most + Math.Log(TensorPrimitives.Sum((ReadOnlySpan<float>)line));
    }

    private double LogSum(int column)
    {
        double most = double.NegativeInfinity, sum = 0;
        foreach (float[] block in maxima)
            most = Math.Max(most, block[column]);
        for (int block = 0; block < maxima.Length; block++)
            sum += sums[block][column] * Math.Exp(maxima[block][column] - most);
        return most + Math.Log(sum);
    }

    private static void Exponents(ReadOnlySpan<float> values, float potential, float inverse, Span<float> line)
    {
        TensorPrimitives.Subtract(potential, values, line);
        TensorPrimitives.Multiply(line, inverse, line);
    }

    private static void Spread(double[] from, float[] to)
    {
        for (int i = 0; i < to.Length; i++)
            to[i] = (float)from[i];
    }
}
