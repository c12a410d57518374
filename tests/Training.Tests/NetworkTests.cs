using System.Text.Json.Nodes;
using TorchSharp;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Running;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

public sealed class NetworkTests
{
    [Theory]
    [InlineData("llama")]
    [InlineData("llama_tied")]
    [InlineData("qwen2")]
    [InlineData("qwen3")]
    [InlineData("mistral")]
    public void Logits_equal_those_of_transformers(string family)
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "golden", family);
        using BaseModel model = new(folder);
        using TrainedWeights weights = new(model.Load(ScoreHead.None, null, scratch: false, 0), _ => false, ScalarType.Float32, CPU);
        Decoder network = new(model.Shape, weights);
        int compared = 0;
        foreach (JsonNode? one in JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")))!["cases"]!.AsArray())
        {
            using DisposeScope scope = NewDisposeScope();
            int[] prompt = [.. one!["prompt"]!.AsArray().Select(id => id!.GetValue<int>())];
            if (model.Shape.Windows.Any(window => window > 0 && window < prompt.Length + 3))
                continue; // sequences longer than a window are refused
            // A longer sequence pads the first: padding must not be seen.
            Batch batch = new([new Example([new Sequence(prompt), new Sequence([.. prompt, 1, 2, 3])])], CPU);
            float[] logits = [.. network.Logits(batch.AtLast(network.Hidden(batch.Ids))).select(0, 0).data<float>()];
            float[] expected = [.. one["last_logits"]!.AsArray().Select(value => value!.GetValue<float>())];
            float range = expected.Max() - expected.Min();
            Assert.All(expected.Zip(logits), pair => Assert.True(MathF.Abs(pair.First - pair.Second) <= 2e-3f * range, $"{pair.First} beside {pair.Second}"));
            compared++;
        }
        Assert.NotEqual(0, compared);
    }

    [Theory]
    [InlineData("gram")]
    [InlineData("bt")]
    [InlineData("lrhp")]
    [InlineData("sft")]
    public void A_batch_of_eight_is_eight_batches_of_one(string stage)
    {
        using TinyModel tiny = new();
        using Loaded loaded = new(stage, tiny.Settings(stage == "sft" ? Chat(tiny, 8) : tiny.Pairs(8)));
        Assert.Equal(8, loaded.Examples.Count);
        float[] whole = loaded.Gradient(8), parts = loaded.Gradient(1);
        float largest = whole.Max(MathF.Abs);
        Assert.True(largest > 1e-4f);
        Assert.All(whole.Zip(parts), pair => Assert.True(MathF.Abs(pair.First - pair.Second) <= 1e-4f * largest));
    }

    [Fact]
    public void Layers_computed_again_give_the_same_gradient()
    {
        using TinyModel tiny = new();
        TrainingSettings settings = tiny.Settings(tiny.Pairs(5));
        using Loaded kept = new("gram", settings), again = new("gram", settings with { GradientCheckpointing = true });
        float[] expected = kept.Gradient(5), actual = again.Gradient(5);
        float largest = expected.Max(MathF.Abs);
        Assert.True(largest > 1e-4f);
        Assert.All(expected.Zip(actual), pair => Assert.True(MathF.Abs(pair.First - pair.Second) <= 1e-5f * largest));
    }

    [Theory]
    [InlineData("gram")]
    [InlineData("bt")]
    [InlineData("lrhp")]
    [InlineData("sft")]
    [InlineData("gram-pretrain")]
    public void Gradients_equal_finite_differences(string stage)
    {
        using TinyModel tiny = new();
        using Loaded loaded = new(stage, tiny.Settings(stage == "sft" ? Chat(tiny, 3) : tiny.Pairs(3)) with { LabelSmoothing = 0.1, CenterRewardsCoefficient = 0.01 });
        float[] gradient = loaded.Gradient(3);
        // Along a direction that the loss rises in everywhere, so that float32 losses differ by enough to be told apart.
        int[] steep = [.. Enumerable.Range(0, gradient.Length).OrderByDescending(i => MathF.Abs(gradient[i])).Take(100)];
        float[] along = new float[gradient.Length];
        foreach (int i in steep)
            along[i] = MathF.Sign(gradient[i]);
        using Tensor direction = tensor(along);
        double slope = steep.Sum(i => (double)MathF.Abs(gradient[i]));
        const double Width = 1e-3;
        double up = Moved(Width), down = Moved(-2 * Width);
        Assert.Equal(slope, (up - down) / (2 * Width), slope * 0.02);

        double Moved(double by)
        {
            using (no_grad())
                loaded.Weights.Masters.add_(direction, by);
            return loaded.Loss();
        }
    }

    [Fact]
    public void Adapters_begin_as_nothing_and_learn_alone()
    {
        using TinyModel tiny = new();
        LoraSettings adapters = new(4, 8, ["q_proj", "v_proj"]);
        TrainingSettings settings = tiny.Settings(tiny.Pairs(4));
        using Loaded plain = new("gram", settings), adapted = new("gram", settings, adapters);
        Assert.Equal(plain.Loss(), adapted.Loss(), 6);
        Assert.Equal(3 * 2 * 2, adapted.Weights.TrainedNames.Count());
        Assert.Contains(adapted.Gradient(4), value => value != 0);
    }

    private static string Chat(TinyModel tiny, int count) =>
        tiny.Data("chat.jsonl", Enumerable.Range(0, count).Select(i => (object)new { prompt = $"Count to {i}.", completion = string.Join(' ', Enumerable.Range(0, i + 1)) }));
}
