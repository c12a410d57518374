using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Alignment.Tests.Selection;

public sealed class TransportTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(5, 5)]
    [InlineData(7, 7)]
    public void Exact_transport_between_equal_numbers_is_the_best_assignment(int count, int seeds)
    {
        for (int seed = 0; seed < seeds; seed++)
        {
            float[] costs = Random(count, count, seed);
            Assert.Equal(Assignments(count).Min(order => order.Select((column, row) => (double)costs[(row * count) + column]).Sum()) / count, Cost(ExactTransport.Uniform(costs, count, count), costs), 6);
        }
    }

    [Fact]
    public void Exact_transport_of_unequal_numbers_is_the_best_assignment_of_split_masses()
    {
        // 2 x 3: each row is two units, each column one and a third of them: split into 6 units and try all ways.
        for (int seed = 0; seed < 5; seed++)
        {
            float[] costs = Random(2, 3, seed);
            double best = Assignments(6).Min(order => order.Select((unit, place) => (double)costs[(place / 3 * 3) + (unit / 2)]).Sum()) / 6;
            double[,] plan = ExactTransport.Uniform(costs, 2, 3);
            Assert.Equal(best, Cost(plan, costs), 6);
            for (int row = 0; row < 2; row++)
                Assert.Equal(0.5, Enumerable.Range(0, 3).Sum(column => plan[row, column]), 12);
            for (int column = 0; column < 3; column++)
                Assert.Equal(1 / 3.0, plan[0, column] + plan[1, column], 12);
        }
    }

    [Fact]
    public void Unbalanced_masses_are_refused() =>
        Assert.Throws<ArgumentException>(() => ExactTransport.Solve([1, 1], [1], [1, 1]));

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 40)]
    [InlineData(60, 37)]
    [InlineData(150, 20)] // two blocks of rows
    public void Sinkhorn_comes_within_a_hundredth_of_the_exact_cost(int rows, int columns)
    {
        float[] costs = Random(rows, columns, 7);
        TransportPlan plan = Solve(new DenseCosts(costs, rows, columns), new SinkhornSettings { Regularisation = 0.003, Threads = 2 });
        double exact = Cost(ExactTransport.Uniform(costs, rows, columns), costs);
        Assert.InRange(plan.Cost, exact * 0.999, exact * 1.01);
        Assert.InRange(plan.MarginalError, 0, 1e-3);
    }

    [Fact]
    public void Very_small_regularisation_stays_finite()
    {
        float[] costs = [.. Random(30, 30, 3).Select(value => 1000 * value)];
        TransportPlan plan = Solve(new DenseCosts(costs, 30, 30), new SinkhornSettings { Regularisation = 1e-5, MostPasses = 300 });
        Assert.All(plan.RowCosts, cost => Assert.True(double.IsFinite(cost)));
        Assert.True(double.IsFinite(plan.MarginalError));
    }

    [Fact]
    public void With_great_regularisation_a_row_costs_its_mean()
    {
        float[] costs = Random(9, 13, 1);
        TransportPlan plan = Solve(new DenseCosts(costs, 9, 13), new SinkhornSettings { Regularisation = 1e4 });
        for (int row = 0; row < 9; row++)
            Assert.Equal(costs.Skip(row * 13).Take(13).Average(), plan.RowCosts[row], 3);
    }

    [Fact]
    public void Order_and_threads_change_nothing()
    {
        const int Rows = 200, Columns = 31;
        float[] costs = Random(Rows, Columns, 5);
        int[] rows = Shuffled(Rows, 1), columns = Shuffled(Columns, 2);
        float[] moved = new float[costs.Length];
        for (int i = 0; i < Rows; i++)
            for (int j = 0; j < Columns; j++)
                moved[(i * Columns) + j] = costs[(rows[i] * Columns) + columns[j]];
        TransportPlan one = Solve(new DenseCosts(costs, Rows, Columns), new SinkhornSettings { Threads = 1 });
        TransportPlan three = Solve(new DenseCosts(costs, Rows, Columns), new SinkhornSettings { Threads = 3 });
        TransportPlan other = Solve(new DenseCosts(moved, Rows, Columns), new SinkhornSettings());
        Assert.Equal(one.RowCosts, three.RowCosts);
        for (int i = 0; i < Rows; i++)
            Assert.Equal(one.RowCosts[rows[i]], other.RowCosts[i], 1e-3);
    }

    [Fact]
    public void Costs_of_nothing_are_nothing() =>
        Assert.Equal(0, Solve(new DenseCosts(new float[6], 2, 3), new SinkhornSettings()).Cost);

    [Fact]
    public void Costs_that_are_no_numbers_are_refused() =>
        Assert.Throws<DataException>(() => Solve(new DenseCosts([1, float.NaN], 1, 2), new SinkhornSettings()));

    private static TransportPlan Solve(CostBlocks costs, SinkhornSettings settings) => Sinkhorn.Solve(costs, settings, TestContext.Current.CancellationToken);

    private static float[] Random(int rows, int columns, int seed)
    {
        Random random = new((seed * 1000) + rows);
        return [.. Enumerable.Range(0, rows * columns).Select(_ => 0.1f + random.NextSingle())];
    }

    private static int[] Shuffled(int count, int seed)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        new Random(seed).Shuffle(order);
        return order;
    }

    private static double Cost(double[,] plan, float[] costs) =>
        Enumerable.Range(0, costs.Length).Sum(index => plan[index / plan.GetLength(1), index % plan.GetLength(1)] * costs[index]);

    private static IEnumerable<int[]> Assignments(int count) => count == 0
        ? [[]]
        : Assignments(count - 1).SelectMany(shorter => Enumerable.Range(0, count).Select(place => (int[])[.. shorter[..place], count - 1, .. shorter[place..]]));
}
