using TorchSharp;
using XDeepServe.Training.Losses;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

public sealed class LossTests
{
    [Theory]
    [InlineData(0.05, SmoothingForm.TwoPoint, 2.9444)]
    [InlineData(0.10, SmoothingForm.TwoPoint, 2.1972)]
    [InlineData(0.15, SmoothingForm.TwoPoint, 1.7346)]
    [InlineData(0.05, SmoothingForm.PyTorch, 3.6636)]
    [InlineData(0.10, SmoothingForm.PyTorch, 2.9444)]
    [InlineData(0.15, SmoothingForm.PyTorch, 2.5123)]
    public void Smoothing_puts_the_minimum_where_the_formula_says(double epsilon, SmoothingForm form, double minimum)
    {
        double weight = new Smoothing(epsilon, form).Weight, at = 0;
        for (int step = 0; step < 50; step++)
        {
            using Tensor difference = tensor(at, ScalarType.Float64, requires_grad: true);
            PairLoss.Smoothed(difference, weight).backward();
            double share = 1 / (1 + Math.Exp(-at)), slope = difference.grad!.item<double>();
            Assert.Equal(share - (1 - weight), slope, 10); // the closed form
            at -= slope / (share * (1 - share)); // Newton
        }
        Assert.Equal(minimum, at, 4);
    }

    [Fact]
    public void Smoothing_is_a_cross_entropy_of_two_classes()
    {
        using Tensor logits = tensor([0.3, -1.2, 2.5, 2.5, -7.0, 0.1], [3, 2], ScalarType.Float64);
        using Tensor difference = logits.select(1, 0) - logits.select(1, 1);
        using Tensor expected = -(logits.log_softmax(1) * tensor([0.95, 0.05], ScalarType.Float64)).sum(1);
        using Tensor actual = PairLoss.Smoothed(difference, new Smoothing(0.1, SmoothingForm.PyTorch).Weight);
        Assert.Equal(expected.data<double>(), actual.data<double>(), (a, b) => Math.Abs(a - b) < 1e-12);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void Plackett_Luce_is_a_product_of_choices(int answers)
    {
        Random random = new(3);
        using Tensor rewards = tensor([.. Enumerable.Range(0, 5 * answers).Select(_ => random.NextDouble() * 6 - 3)], [5, answers], ScalarType.Float64, requires_grad: true);
        using Tensor losses = PairLoss.PlackettLuce(rewards);
        losses.sum().backward();
        double[] values = [.. rewards.data<double>()], gradient = [.. rewards.grad!.data<double>()], found = [.. losses.data<double>()];
        for (int row = 0; row < 5; row++)
        {
            Assert.Equal(Naive(values.AsSpan(row * answers, answers)), found[row], 10);
            for (int i = 0; i < answers; i++)
                Assert.Equal(Slope(row, i), gradient[row * answers + i], 6);
        }

        double Slope(int row, int i)
        {
            const double Width = 1e-5;
            double[] up = values[(row * answers)..((row + 1) * answers)], down = [.. up];
            up[i] += Width;
            down[i] -= Width;
            return (Naive(up) - Naive(down)) / (2 * Width);
        }

        static double Naive(ReadOnlySpan<double> rewards)
        {
            double chance = 1;
            for (int i = 0; i < rewards.Length; i++)
            {
                double all = 0;
                foreach (double reward in rewards[i..])
                    all += Math.Exp(reward);
                chance *= Math.Exp(rewards[i]) / all;
            }
            return -Math.Log(chance);
        }
    }

    [Fact]
    public void Two_answers_make_Plackett_Luce_Bradley_Terry()
    {
        using Tensor rewards = tensor([1.5, -0.25, -3, 4], [2, 2], ScalarType.Float64);
        using Tensor pairs = PairLoss.Smoothed(rewards.select(1, 0) - rewards.select(1, 1), 0), ranked = PairLoss.PlackettLuce(rewards);
        Assert.Equal(pairs.data<double>(), ranked.data<double>(), (a, b) => Math.Abs(a - b) < 1e-12);
    }

    [Fact]
    public void Large_differences_stay_finite()
    {
        using Tensor loss = PairLoss.Smoothed(tensor([-1e4f, 1e4f]), 0);
        Assert.Equal([1e4f, 0f], loss.data<float>());
    }
}
