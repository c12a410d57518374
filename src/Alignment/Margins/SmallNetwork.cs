using System.Numerics.Tensors;

namespace XDeepServe.Alignment.Margins;

/// <summary>What a <see cref="SmallNetwork"/> is fitted with.</summary>
public sealed record NetworkSettings
{
    /// <summary>Hidden values.</summary>
    public int Hidden { get; init; } = 32;

    /// <summary>Passes over the examples at most.</summary>
    public int Epochs { get; init; } = 200;

    /// <summary>Passes without a better validation error after which it stops.</summary>
    public int Patience { get; init; } = 20;

    /// <summary>Adam's step.</summary>
    public double LearningRate { get; init; } = 3e-3;

    /// <summary>Decay of the weights in each step, times the learning rate.</summary>
    public double WeightDecay { get; init; } = 1e-2;

    /// <summary>Names the initial weights, the order of examples and the validation part.</summary>
    public int Seed { get; init; } = 1;
}

/// <summary>
/// A network with one hidden layer of tanh, fitted to squared error by Adam in batches of 32; a tenth of the examples decides when to stop, and the
/// weights that were best on it are kept.
/// </summary>
public static class SmallNetwork
{
    private const int Batch = 32;

    /// <summary>Fits.</summary>
    /// <param name="features">At least ten of one length.</param>
    /// <param name="margins">One for each.</param>
    /// <param name="settings">How.</param>
    public static MarginPredictor Fit(IReadOnlyList<float[]> features, IReadOnlyList<double> margins, NetworkSettings settings)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(features.Count, 10);
        ArgumentOutOfRangeException.ThrowIfNotEqual(margins.Count, features.Count);
        MarginPredictor standard = MarginPredictor.Standardising("mlp", features);
        double[][] rows = standard.StandardiseAll(features);
        double centre = margins.Average();
        double spread = Math.Max(Math.Sqrt(margins.Average(margin => (margin - centre) * (margin - centre))), 1e-12);
        double[] targets = [.. margins.Select(margin => (margin - centre) / spread)];
        Random random = new(settings.Seed);
        int[] order = [.. Enumerable.Range(0, rows.Length)];
        random.Shuffle(order);
        int[] held = order[..(rows.Length / 10)], learnt = order[(rows.Length / 10)..];

        Shape shape = new(standard.Mean.Length, settings.Hidden);
        double[] weights = shape.Start(random), gradient = new double[weights.Length], first = new double[weights.Length], second = new double[weights.Length];
        double[] best = (double[])weights.Clone();
        double least = Error(held);
        for (int epoch = 0, worse = 0, step = 0; epoch < settings.Epochs && worse < settings.Patience; epoch++)
        {
            random.Shuffle(learnt);
            foreach (int[] batch in learnt.Chunk(Batch))
            {
                Array.Clear(gradient);
                foreach (int row in batch)
                    shape.AddGradient(weights, rows[row], targets[row], 1.0 / batch.Length, gradient);
                step++;
                for (int i = 0; i < weights.Length; i++)
                {
                    first[i] += 0.1 * (gradient[i] - first[i]);
                    second[i] += 0.001 * (gradient[i] * gradient[i] - second[i]);
                    double move = first[i] / (1 - Math.Pow(0.9, step)) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.999, step))) + 1e-8);
                    weights[i] -= settings.LearningRate * (move + settings.WeightDecay * weights[i]);
                }
            }
            double error = Error(held);
            (worse, least, best) = error < least ? (0, error, (double[])weights.Clone()) : (worse + 1, least, best);
        }
        return standard with { Layers = shape.Layers(best, spread, centre) };

        double Error(int[] part) => part.Average(row => Math.Pow(shape.Predict(weights, rows[row]) - targets[row], 2));
    }

    /// <summary>All weights in one array: hidden rows, hidden biases, output row, output bias.</summary>
    internal sealed class Shape(int inputs, int hidden)
    {
        private readonly double[] activations = new double[hidden];

        public double[] Start(Random random)
        {
            double[] weights = new double[hidden * inputs + hidden + hidden + 1];
            for (int i = 0; i < hidden * inputs; i++)
                weights[i] = (random.NextDouble() * 2 - 1) / Math.Sqrt(inputs);
            for (int i = 0; i < hidden; i++)
                weights[hidden * inputs + hidden + i] = (random.NextDouble() * 2 - 1) / Math.Sqrt(hidden);
            return weights;
        }

        public double Predict(ReadOnlySpan<double> weights, ReadOnlySpan<double> row)
        {
            for (int i = 0; i < hidden; i++)
                activations[i] = Math.Tanh(weights[hidden * inputs + i] + TensorPrimitives.Dot(weights.Slice(i * inputs, inputs), row));
            return weights[^1] + TensorPrimitives.Dot(weights.Slice(hidden * (inputs + 1), hidden), activations);
        }

        /// <summary>Adds the gradient of share · (prediction − target)².</summary>
        public void AddGradient(ReadOnlySpan<double> weights, ReadOnlySpan<double> row, double target, double share, Span<double> gradient)
        {
            double slope = 2 * share * (Predict(weights, row) - target);
            gradient[^1] += slope;
            for (int i = 0; i < hidden; i++)
            {
                gradient[hidden * (inputs + 1) + i] += slope * activations[i];
                double inner = slope * weights[hidden * (inputs + 1) + i] * (1 - activations[i] * activations[i]);
                gradient[hidden * inputs + i] += inner;
                TensorPrimitives.MultiplyAdd(row, inner, gradient.Slice(i * inputs, inputs), gradient.Slice(i * inputs, inputs));
            }
        }

        /// <summary>As layers whose result is stretched and moved to the labels' unit.</summary>
        public IReadOnlyList<MarginLayer> Layers(double[] weights, double spread, double centre) =>
        [
            new([.. Enumerable.Range(0, hidden).Select(i => weights.AsSpan(i * inputs, inputs).ToArray())], weights.AsSpan(hidden * inputs, hidden).ToArray()),
            new([[.. weights.AsSpan(hidden * (inputs + 1), hidden).ToArray().Select(weight => weight * spread)]], [weights[^1] * spread + centre]),
        ];
    }
}
