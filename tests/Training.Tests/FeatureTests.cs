using TorchSharp;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Running;
using static TorchSharp.torch;

namespace XDeepServe.Training.Tests;

/// <summary>Gradient features.</summary>
public sealed class FeatureTests
{
    [Fact]
    public void Signs_are_those_of_the_stored_stream_s_twin()
    {
        using SceneModel scenes = new(pairs: 2);
        using Loaded loaded = new("bt", scenes.Settings("visual"), new LoraSettings(2, 4, ["q_proj"]));
        foreach (ulong seed in (ulong[])[0, 42, ulong.MaxValue - 3])
        {
            RademacherProjection projection = new(192, seed);
            GradientFeatures features = new(loaded.Stage, loaded.Network, projection, batchSize: 4);
            using Tensor signs = features.Signs(1000, 5, CPU);
            float[] found = [.. signs.data<float>()];
            for (int parameter = 0; parameter < 5; parameter++)
                for (int column = 0; column < 192; column++)
                    Assert.Equal((projection.Signs(1000 + parameter, column / 64) >> (column % 64) & 1) == 1 ? -1f : 1f, found[(parameter * 192) + column]);
        }
    }

    [Fact]
    public void A_feature_is_the_projected_gradient_of_one_pair_s_loss()
    {
        using SceneModel scenes = new(pairs: 5);
        using Loaded loaded = new("bt", scenes.Settings("visual"), new LoraSettings(2, 4, ["q_proj", "v_proj"]));
        using (no_grad()) // B begins as zero, which would leave A without a gradient
            foreach (string name in loaded.Weights.TrainedNames.Where(name => name.EndsWith(LoraSettings.Up, StringComparison.Ordinal)))
                loaded.Weights[name].add_(randn(loaded.Weights[name].shape).mul_(0.1));
        GradientFeatures features = new(loaded.Stage, loaded.Network, new RademacherProjection(128, 9), batchSize: 3); // two batches
        string path = scenes.At("visual.features");
        features.Write(path, loaded.Examples, TestContext.Current.CancellationToken);
        using FeatureFile file = FeatureFile.Open(path);
        Assert.Equal((5, 128, 9UL), (file.Rows, file.Columns, file.Seed));
        float[] row = new float[128];
        using Tensor gradients = features.Gradients(loaded.Examples);
        for (int i = 0; i < 5; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            // Autograd over the plain graph, and the whole matrix at once.
            Batch batch = loaded.Stage.Batch([loaded.Examples[i]], CPU);
            Tensor loss = loaded.Stage.Loss(loaded.Network, loaded.Network.Hidden(batch.Ids, batch.Pictures), batch).Losses.sum();
            string[] names = [.. loaded.Weights.TrainedNames.Where(name => name.Contains(".lora_", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
            Tensor gradient = cat([.. autograd.grad([loss], [.. names.Select(name => loaded.Weights[name])]).Select(one => one.flatten())]);
            Assert.Equal([.. gradient.data<float>()], gradients[i].data<float>().ToArray(), (a, b) => Math.Abs(a - b) <= 1e-6f + 1e-4f * Math.Abs(a));
            Tensor expected = gradient.matmul(features.Signs(0, gradient.shape[0], CPU));
            expected = expected / expected.norm();
            file.Read(i, row);
            Assert.All(expected.data<float>().ToArray().Zip(row), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
            Assert.True(row.Max(MathF.Abs) > 0.05f);
        }
    }

    [Fact]
    public void A_run_with_adapters_writes_features_of_every_pair()
    {
        using SceneModel scenes = new(pairs: 6);
        TrainingSettings settings = scenes.Settings("visual") with { MaxSteps = 2, LoraR = 2, FeatureData = [scenes.At("textual.train.jsonl"), scenes.At("visual.train.jsonl")], FeatureDimension = 64 };
        Assert.True(new Run(settings, _ => { }).Train("bt", null, TestContext.Current.CancellationToken));
        using FeatureFile texts = FeatureFile.Open(scenes.At("out/textual.train.features")), images = FeatureFile.Open(scenes.At("out/visual.train.features"));
        Assert.Equal((6, 6, texts.Seed), (texts.Rows, images.Rows, images.Seed));
        Assert.Throws<TrainingException>(() => (settings with { LoraR = 0 }).Check());
    }
}
