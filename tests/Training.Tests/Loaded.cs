using TorchSharp;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Running;
using XDeepServe.Training.Stages;

namespace XDeepServe.Training.Tests;

/// <summary>A stage over a network, loaded as a run loads it.</summary>
internal sealed class Loaded : IDisposable
{
    public Loaded(string stage, TrainingSettings settings, LoraSettings? adapters = null)
    {
        Model = new BaseModel(settings.ModelNameOrPath, settings.FromScratch, Run.TokenOf(stage));
        Stage = Run.Make(stage, Model.Writer, settings);
        Weights = new TrainedWeights(
            Model.Load(Stage.Scoring, adapters, settings.FromScratch, settings.Seed), name => adapters is null || name.Contains(".lora_", StringComparison.Ordinal), torch.ScalarType.Float32, torch.CPU);
        Network = new Decoder(Model.Shape, Weights, adapters) { Recomputes = settings.GradientCheckpointing };
        Examples = [.. settings.TrainData.SelectMany(path => Stage.Read(path, new()))];
    }

    public BaseModel Model { get; }

    public Stage Stage { get; }

    public TrainedWeights Weights { get; }

    public Decoder Network { get; }

    public IReadOnlyList<Example> Examples { get; }

    /// <summary>Gradient of the mean loss, examples taken so many at a time.</summary>
    public float[] Gradient(int batchSize)
    {
        Weights.Gradients.zero_();
        double weight = Examples.Sum(Stage.Weight);
        foreach (Example[] examples in Examples.Chunk(batchSize))
        {
            using DisposeScope scope = torch.NewDisposeScope();
            Batch batch = new(examples, torch.CPU);
            Network.Backward(batch.Ids, hidden => Stage.Loss(Network, hidden, batch).Losses.sum() / weight);
        }
        return [.. Weights.Gradients.data<float>()];
    }

    /// <summary>Mean loss.</summary>
    public double Loss()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using IDisposable unrecorded = torch.no_grad();
        Batch batch = new(Examples, torch.CPU);
        return Stage.Loss(Network, Network.Hidden(batch.Ids), batch).Losses.to(torch.ScalarType.Float64).sum().item<double>() / Examples.Sum(Stage.Weight);
    }

    public void Dispose()
    {
        Weights.Dispose();
        Model.Dispose();
    }
}
