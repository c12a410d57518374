using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Selection;

/// <summary>
/// Passes on the CPU. They stream over blocks of rows; the columns' log-sum-exps are gathered block by block and joined in the blocks' order, so that the
/// result does not depend on the threads.
/// </summary>
public sealed class HostPasses : TransportPasses
{
    private readonly CostBlocks costs;
    private readonly double[] f, g;              // potentials of rows and columns
    private readonly float[] columnPotentials;   // g, as the passes read it
    private readonly float[][] maxima, sums;     // [block][columns]: log-sum-exps of the columns within a block
    private readonly ThreadLocal<float[][]> scratch;
    private readonly ParallelOptions parallel;

    /// <summary>Prepares them.</summary>
    /// <param name="costs">Finite, not negative.</param>
    /// <param name="threads">That take part.</param>
    /// <param name="cancel">Gives up.</param>
    public HostPasses(CostBlocks costs, int threads, CancellationToken cancel = default)
    {
        this.costs = costs;
        f = new double[costs.Rows];
        g = new double[costs.Columns];
        columnPotentials = new float[costs.Columns];
        maxima = [.. Enumerable.Range(0, costs.Count).Select(_ => new float[costs.Columns])];
        sums = [.. Enumerable.Range(0, costs.Count).Select(_ => new float[costs.Columns])];
        scratch = new ThreadLocal<float[][]>(() => [new float[CostBlocks.BlockRows * costs.Columns], new float[costs.Columns]]);
        parallel = new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancel };
    }

    /// <inheritdoc/>
    public override int Rows => costs.Rows;

    /// <inheritdoc/>
    public override void Dispose() => scratch.Dispose();

    /// <inheritdoc/>
    public override double Mean()
    {
        double[] means = new double[costs.Rows];
        ForRows((row, line, _) => means[row] = TensorPrimitives.Sum(line) / line.Length);
        return means.Average();
    }

    /// <inheritdoc/>
    public override double Pass(double epsilon, bool measure)
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

    /// <inheritdoc/>
    public override TransportPlan Finish(double epsilon, int passes)
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
