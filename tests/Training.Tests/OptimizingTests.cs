using TorchSharp;
using XDeepServe.Training.Network;
using XDeepServe.Training.Optimizing;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

public sealed class OptimizingTests
{
    [Theory]
    [InlineData(0, 0)]
    [InlineData(0.1, 0)]
    [InlineData(0.1, 0.5)]
    public void Ten_steps_equal_plain_arithmetic(double decay, double clip)
    {
        Random random = new(5);
        float[] matrix = [.. Enumerable.Range(0, 6).Select(_ => random.NextSingle() - 0.5f)], vector = [.. Enumerable.Range(0, 3).Select(_ => random.NextSingle())];
        using TrainedWeights weights = new(
            new Dictionary<string, Tensor> { ["b"] = tensor(vector), ["w"] = tensor(matrix, [2, 3]), ["frozen"] = ones(4) }, name => name != "frozen", ScalarType.Float32, CPU);
        using AdamW optimizer = new(weights, new TrainingSettings { WeightDecay = decay, MaxGradNorm = clip, AdamBeta1 = 0.9, AdamBeta2 = 0.95 });
        double[] values = [.. matrix.Concat(vector).Select(value => (double)value)], first = new double[9], second = new double[9]; // matrices lie in front
        for (int step = 1; step <= 10; step++)
        {
            double rate = 0.01 * step;
            float[] gradient = [.. Enumerable.Range(0, 9).Select(_ => 4 * random.NextSingle() - 2)];
            using (no_grad())
                weights.Gradients.copy_(tensor(gradient));
            double length = Math.Sqrt(gradient.Sum(value => (double)value * value));
            Assert.Equal(length, optimizer.Step(rate), 4);
            double factor = clip > 0 && length > clip ? clip / length : 1;
            for (int i = 0; i < 9; i++)
            {
                double slope = gradient[i] * factor;
                first[i] = 0.9 * first[i] + 0.1 * slope;
                second[i] = 0.95 * second[i] + 0.05 * slope * slope;
                values[i] -= rate * (i < 6 ? decay : 0) * values[i];
                values[i] -= rate * (first[i] / (1 - Math.Pow(0.9, step))) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.95, step))) + 1e-8);
            }
        }
        Assert.Equal(values, weights.Masters.data<float>().Select(value => (double)value), (a, b) => Math.Abs(a - b) < 1e-4);
        Assert.Equal(weights.Masters.data<float>().Skip(6), weights["b"].data<float>()); // the network sees the masters' values
        Assert.All(weights["frozen"].data<float>(), value => Assert.Equal(1, value));
        Assert.All(weights.Gradients.data<float>(), value => Assert.Equal(0, value));
    }

    [Fact]
    public void Bfloat16_gradients_add_up_in_float32()
    {
        using TrainedWeights weights = new(new Dictionary<string, Tensor> { ["w"] = ones(2, 2) }, _ => true, ScalarType.BFloat16, CPU);
        using AdamW optimizer = new(weights, new TrainingSettings { MaxGradNorm = 0 });
        for (int batch = 0; batch < 512; batch++)
        {
            using (no_grad())
                weights.Gradients.fill_(1f);
            optimizer.Accumulate();
        }
        Assert.Equal(512 * 2, optimizer.Step(0.5), 1); // a bfloat16 sum would stay at 256
        Assert.All(weights.Masters.data<float>(), value => Assert.Equal(0.5f, value, 4));
        Assert.All(weights["w"].to(ScalarType.Float32).data<float>(), value => Assert.Equal(0.5f, value, 2));
    }

    [Fact]
    public void A_gradient_that_is_no_number_changes_nothing()
    {
        using TrainedWeights weights = new(new Dictionary<string, Tensor> { ["w"] = ones(2, 2) }, _ => true, ScalarType.Float32, CPU);
        using AdamW optimizer = new(weights, new TrainingSettings());
        using (no_grad())
            weights.Gradients.fill_(float.NaN);
        Assert.False(double.IsFinite(optimizer.Step(0.5)));
        Assert.All(weights.Masters.data<float>(), value => Assert.Equal(1, value));
    }

    [Theory]
    [InlineData(ScheduleKind.Cosine, 0, 0)]
    [InlineData(ScheduleKind.Cosine, 5, 0.5)]
    [InlineData(ScheduleKind.Cosine, 10, 1)]
    [InlineData(ScheduleKind.Cosine, 55, 0.5)]
    [InlineData(ScheduleKind.Cosine, 100, 0)]
    [InlineData(ScheduleKind.Linear, 55, 0.5)]
    [InlineData(ScheduleKind.Linear, 100, 0)]
    [InlineData(ScheduleKind.Constant, 100, 1)]
    public void Rates_rise_and_fall(ScheduleKind kind, int step, double share) =>
        Assert.Equal(2e-5 * share, new Schedule(kind, 2e-5, 100, 10).Rate(step), 12);
}
