using TorchSharp;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Running;

/// <summary>
/// Features of examples for preference data selection (RoVRM): the gradient of each example's own loss with respect to the low-rank adapters,
/// projected by random signs and scaled to length 1.
/// </summary>
/// <param name="stage">Whose loss.</param>
/// <param name="network">With adapters.</param>
/// <param name="projection">Of the gradients.</param>
public sealed class GradientFeatures(Stage stage, Decoder network, RademacherProjection projection)
{
    private const int Together = 64;             // examples that are projected together
    private const long MostSigns = 1L << 22;      // of a block that is in memory at once

    private readonly string[] adapters = [.. network.Weights.TrainedNames.Where(name => name.EndsWith(LoraSettings.Down, StringComparison.Ordinal) || name.EndsWith(LoraSettings.Up, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>Computes the features of examples and writes them in their order.</summary>
    /// <param name="path">A feature file.</param>
    /// <param name="examples">The examples.</param>
    /// <param name="cancel">Gives up; readers refuse the file then.</param>
    public void Write(string path, IReadOnlyList<Example> examples, CancellationToken cancel = default)
    {
        using FeatureWriter writer = new(path, projection.Columns, projection.Seed);
        foreach (Example[] together in examples.Chunk(Together))
        {
            cancel.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            using Tensor projected = Project(stack([.. together.Select(Gradient)])).cpu();
            float[] rows = [.. projected.data<float>()];
            for (int row = 0; row < together.Length; row++)
            {
                Span<float> values = rows.AsSpan(row * projection.Columns, projection.Columns);
                RademacherProjection.Normalise(values);
                writer.Append(values);
            }
        }
        writer.Complete();
    }

    /// <summary>An example's gradient, adapter by adapter in the order of their names: float32 <c>[parameters]</c>.</summary>
    public Tensor Gradient(Example example)
    {
        using DisposeScope scope = NewDisposeScope();
        network.Weights.Gradients.zero_();
        Batch batch = stage.Batch([example], network.Weights.Device);
        network.Backward(batch.Ids, hidden => stage.Loss(network, hidden, batch).Losses.sum(), batch.Pictures);
        using IDisposable unrecorded = no_grad();
        Tensor gradient = cat([.. adapters.Select(name => network.Weights[name].grad!.flatten().to(ScalarType.Float32))]);
        network.Weights.Gradients.zero_();
        return gradient.MoveToOuterDisposeScope();
    }

    /// <summary>Projects gradients.</summary>
    /// <param name="gradients">Float32 <c>[examples, parameters]</c>.</param>
    /// <returns><c>[examples, columns]</c></returns>
    public Tensor Project(Tensor gradients)
    {
        using IDisposable unrecorded = no_grad();
        long parameters = gradients.shape[1], block = Math.Max(1, MostSigns / projection.Columns);
        Tensor sums = zeros([gradients.shape[0], projection.Columns], device: gradients.device);
        for (long first = 0; first < parameters; first += block)
        {
            using DisposeScope scope = NewDisposeScope();
            long count = Math.Min(block, parameters - first);
            sums.add_(gradients.narrow(1, first, count).matmul(Signs(first, count, gradients.device)));
        }
        return sums;
    }

    /// <summary>The projection's matrix, some rows of it, from the same counter-based stream as <see cref="RademacherProjection.Signs"/>: ±1, float32 <c>[count, columns]</c>.</summary>
    public Tensor Signs(long first, long count, Device device)
    {
        int words = projection.Columns / RademacherProjection.Word;
        Tensor draws = arange(first * words + 1, (first + count) * words + 1, dtype: ScalarType.Int64, device: device);
        draws = draws * unchecked((long)0x9E3779B97F4A7C15UL) + unchecked((long)projection.Seed);
        draws = (draws ^ Shifted(draws, 30)) * unchecked((long)0xBF58476D1CE4E5B9UL);
        draws = (draws ^ Shifted(draws, 27)) * unchecked((long)0x94D049BB133111EBUL);
        draws ^= Shifted(draws, 31);
        Tensor bits = draws.unsqueeze(1).bitwise_right_shift(arange(RademacherProjection.Word, dtype: ScalarType.Int64, device: device)).bitwise_and(tensor(1L, device: device));
        return (1 - bits.view(count, projection.Columns) * 2).to(ScalarType.Float32);
    }

    // Zeros come in from above, whatever the sign.
    private static Tensor Shifted(Tensor value, int by) =>
        value.bitwise_right_shift(tensor((long)by, device: value.device)).bitwise_and(tensor((1L << (64 - by)) - 1, device: value.device));
}
