using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Margins;

namespace XDeepServe.Alignment.Tests;

public sealed class MarginTests
{
    /// <summary>Columns of different sizes, one that never changes, and margins that depend on three of them.</summary>
    private static (float[][] Features, double[] Margins) Examples(int count, int columns, int seed, double noise = 0.3)
    {
        Random random = new(seed);
        float[][] features = [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, columns).Select(column => column == 1 ? 7f : (float)((random.NextDouble() - 0.5) * (column + 1))).ToArray())];
        return (features, [.. features.Select(row => 3 + 2 * row[0] - row[2] + noise * (random.NextDouble() - 0.5))]);
    }

    [Theory]
    [InlineData(40, 5)]
    [InlineData(9, 23)]
    public void Ridge_is_the_solution_of_its_normal_equations(int count, int columns)
    {
        (float[][] features, double[] margins) = Examples(count, columns, seed: 3);
        const double penalty = 0.7;
        MarginPredictor fitted = RidgeRegression.Fit(features, margins, Alone(count), penalty);
        double[] weights = fitted.Layers[0].Weights[0];
        double[][] rows = [.. features.Select(row => row.Select((value, i) => (value - fitted.Mean[i]) / fitted.Scale[i]).ToArray())];
        // The gradient of sum (x w + b - y)^2 + n lambda |w|^2 is zero.
        double[] residuals = [.. rows.Select((row, i) => row.Zip(weights, (x, w) => x * w).Sum() + fitted.Layers[0].Bias[0] - margins[i])];
        Assert.Equal(0, residuals.Sum(), 9);
        for (int column = 0; column < columns; column++)
            Assert.Equal(0, residuals.Zip(rows, (residual, row) => residual * row[column]).Sum() + count * penalty * weights[column], 9);
        Assert.Equal(0, weights[1], 12);
    }

    [Theory]
    [InlineData(30, 6, 1)]
    [InlineData(15, 25, 1)]
    [InlineData(30, 6, 5)]
    [InlineData(15, 25, 4)]
    public void Ridge_chooses_the_penalty_that_foretells_left_out_prompts_best(int count, int columns, int together)
    {
        (float[][] features, double[] margins) = Examples(count, columns, seed: 5, noise: 4);
        string[] prompts = [.. Enumerable.Range(0, count).Select(index => $"{index / together}")];
        if (together > 1) // what a prompt's examples share
        {
            float[][] shared = Examples(count, columns, seed: 6).Features;
            margins = [.. margins.Select((margin, index) => margin + 3 * (index / together % 3))];
            features = [.. features.Select((row, index) => row.Select((value, column) => value * 0.2f + shared[index / together][column]).ToArray())];
        }
        double[] penalties = [1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3];
        // Standardised once with all examples, as the closed form does; the mean is fitted anew each time.
        MarginPredictor all = RidgeRegression.Fit(features, margins, prompts, 1);
        float[][] standard = [.. features.Select(row => row.Select((value, i) => (float)((value - all.Mean[i]) / all.Scale[i])).ToArray())];
        double[] errors = [.. penalties.Select(penalty => prompts.Distinct().Sum(prompt =>
        {
            int[] left = [.. Enumerable.Range(0, count).Where(index => prompts[index] == prompt)];
            return LeaveOut(standard, margins, left, penalty * count).Zip(left, (predicted, index) => (predicted - margins[index]) * (predicted - margins[index])).Sum();
        }))];
        double best = penalties[Array.IndexOf(errors, errors.Min())];
        Assert.Equal(RidgeRegression.Fit(features, margins, prompts, best).Layers[0].Weights[0], RidgeRegression.Fit(features, margins, prompts).Layers[0].Weights[0]);
    }

    private static string[] Alone(int count) => [.. Enumerable.Range(0, count).Select(index => $"{index}")];

    // Gradient descent on the problem without some examples: a twin that shares nothing with the closed form.
    private static double[] LeaveOut(float[][] rows, double[] margins, int[] left, double lambda)
    {
        int columns = rows[0].Length;
        double[] weights = new double[columns];
        double bias = 0, step = 0.9 / (lambda + rows.Length * columns);
        for (int pass = 0; pass < 4000; pass++)
        {
            double[] slope = [.. weights.Select(weight => lambda * weight)];
            double slopeBias = 0;
            for (int i = 0; i < rows.Length; i++)
            {
                if (left.Contains(i))
                    continue;
                double residual = bias - margins[i];
                for (int j = 0; j < columns; j++)
                    residual += rows[i][j] * weights[j];
                slopeBias += residual;
                for (int j = 0; j < columns; j++)
                    slope[j] += residual * rows[i][j];
            }
            bias -= slopeBias / rows.Length;
            for (int j = 0; j < columns; j++)
                weights[j] -= step * slope[j];
        }
        return [.. left.Select(index => bias + rows[index].Zip(weights, (x, w) => x * w).Sum())];
    }

    [Fact]
    public void The_networks_gradient_is_that_of_finite_differences()
    {
        SmallNetwork.Shape shape = new(inputs: 5, hidden: 3);
        Random random = new(2);
        double[] weights = shape.Start(random), row = [0.3, -1, 2, 0, 0.5], gradient = new double[weights.Length];
        shape.AddGradient(weights, row, 0.7, 0.25, gradient);
        for (int i = 0; i < weights.Length; i++)
        {
            double[] up = [.. weights], down = [.. weights];
            up[i] += 1e-5;
            down[i] -= 1e-5;
            double slope = (Loss(up) - Loss(down)) / 2e-5;
            Assert.Equal(slope, gradient[i], 7);
        }

        double Loss(double[] at) => 0.25 * Math.Pow(shape.Predict(at, row) - 0.7, 2);
    }

    [Fact]
    public void Predictors_learn_what_is_there_and_survive_a_file()
    {
        (float[][] features, double[] margins) = Examples(240, 4, seed: 9);
        double[] curved = [.. features.Select(row => Math.Abs(row[0]) * 4 + row[2])];
        string[] clusters = [.. Enumerable.Range(0, 240).Select(index => $"{index / 3}")];
        Assert.True(MarginReport.CrossValidate(features, margins, clusters, (some, labels, prompts) => RidgeRegression.Fit(some, labels, prompts)) is { Pearson: > 0.98, Spearman: > 0.98 } line && line.Error < 0.05 * line.MeanError);
        NetworkSettings settings = new() { Hidden = 16, Epochs = 300, LearningRate = 1e-2 };
        MarginReport network = MarginReport.CrossValidate(features, curved, clusters, (some, labels, _) => SmallNetwork.Fit(some, labels, settings));
        MarginReport straight = MarginReport.CrossValidate(features, curved, clusters, (some, labels, prompts) => RidgeRegression.Fit(some, labels, prompts));
        Assert.True(network.Error < 0.5 * straight.Error, $"{network} {straight}");

        string path = Path.GetTempFileName();
        MarginPredictor fitted = SmallNetwork.Fit(features, curved, settings);
        fitted.Write(path);
        Assert.Equal(features.Select(row => fitted.Predict(row)), features.Select(row => MarginPredictor.Read(path).Predict(row)));
        Assert.Contains("5 values", Assert.Throws<DataException>(() => fitted.Predict(new float[5])).Message, StringComparison.Ordinal);
        File.WriteAllText(path, """{"method":"ridge","mean":[0],"scale":[1],"layers":[{"weights":[[1,2]],"bias":[0]}]}""");
        Assert.Throws<DataException>(() => MarginPredictor.Read(path));
        File.Delete(path);
    }

    [Fact]
    public void A_prompt_is_never_on_both_sides()
    {
        (float[][] features, double[] margins) = Examples(60, 3, seed: 1);
        // The label depends on the prompt alone and cannot be foretold from other prompts, but could be remembered.
        string[] clusters = [.. Enumerable.Range(0, 60).Select(index => $"{index % 12}")];
        MarginReport.CrossValidate(features, margins, clusters, (some, labels, prompts) =>
        {
            HashSet<string> seen = [.. some.Select(row => clusters[Array.IndexOf(features, row)])];
            Assert.InRange(seen.Count, 9, 10); // of 12 prompts in 5 folds
            Assert.Equal(seen.Count * 5, some.Count);
            Assert.Equal(some.Select(row => clusters[Array.IndexOf(features, row)]), prompts);
            return RidgeRegression.Fit(some, labels, prompts);
        });
        Assert.Throws<DataException>(() => MarginReport.CrossValidate(features, margins, [.. clusters.Select(_ => "one")], (some, labels, prompts) => RidgeRegression.Fit(some, labels, prompts)));
        // One pair is left to fit to when the prompt of all others is foretold.
        string[] lopsided = ["other", .. clusters.Skip(1).Select(_ => "one")];
        Assert.Contains("1 pairs are left", Assert.Throws<DataException>(() => MarginReport.CrossValidate(features, margins, lopsided, (some, labels, prompts) => RidgeRegression.Fit(some, labels, prompts))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Correlations_are_those_of_hand()
    {
        double[] first = [1, 2, 2, 4], second = [1, 3, 2, 16];
        Assert.Equal([1, 2.5, 2.5, 4], Correlation.Ranks(first));
        Assert.Equal(4.5 / Math.Sqrt(4.5 * 5), Correlation.Spearman(first, second), 12);
        Assert.Equal(25.5 / Math.Sqrt(4.75 * 149), Correlation.Pearson(first, second), 12);
        Assert.Equal(0, Correlation.Pearson(first, [3, 3, 3, 3]));
    }
}
