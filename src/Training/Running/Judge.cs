using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Running;

/// <summary>Has the network under training judge pairs, in batches, as the engine would judge them with the saved model.</summary>
/// <param name="stage">Asks.</param>
/// <param name="network">Answers.</param>
/// <param name="settings">Longest sequence and batch size.</param>
public sealed class Judge(Stage stage, Decoder network, TrainingSettings settings)
{
    /// <summary>Judges every pair; those that do not fit count as ties.</summary>
    /// <returns>One verdict for each pair, in their order.</returns>
    /// <exception cref="InvalidOperationException">The stage compares nothing.</exception>
    public IReadOnlyList<Verdict> Run(IReadOnlyList<PreferencePair> pairs)
    {
        IReadOnlyList<Example>[] asked = [.. pairs.Select(pair => stage.Ask(pair) ?? throw new InvalidOperationException("This stage compares nothing."))];
        Dictionary<Example, double> differences = new(ReferenceEqualityComparer.Instance);
        using IDisposable unrecorded = no_grad();
        foreach (IReadOnlyList<Example> together in BatchPlan.ByLength(asked.SelectMany(examples => examples).Where(example => example.Length <= settings.MaxLength), settings.PerDeviceEvalBatchSize))
        {
            using DisposeScope scope = NewDisposeScope();
            Batch batch = stage.Batch(together, network.Weights.Device);
            float[] values = stage.Loss(network, network.Hidden(batch.Ids, batch.Pictures), batch).Differences!.cpu().data<float>().ToArray();
            for (int i = 0; i < together.Count; i++)
                differences[together[i]] = values[i];
        }
        return [.. pairs.Select((pair, index) => Verdict(pair, [.. asked[index].Select(example => differences.TryGetValue(example, out double value) ? value : (double?)null)]))];
    }

    // A judge is asked in both orders, whose probabilities are averaged; a scalar model once.
    private static Verdict Verdict(PreferencePair pair, IReadOnlyList<double?> differences)
    {
        if (differences.Any(difference => difference is null))
            return new Verdict(pair, null, Consistent: true);
        double better = differences.Average(difference => 1 / (1 + Math.Exp(-difference!.Value)));
        return new Verdict(pair, better, differences.All(difference => difference > 0 == differences[0] > 0));
    }
}
