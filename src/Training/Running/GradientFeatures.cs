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
/// <param name="batchSize">Examples that run together.</param>
public sealed class GradientFeatures(Stage stage, Decoder network, RademacherProjection projection, int batchSize)
{
    private const int MostTogether = 512;         // examples that are projected together,
    private const long MostValues = 1L << 31;     // as far as their gradients take no more than so many values
    private const long MostSigns = 1L << 24;      // of a block that is in memory at once

    private readonly string[] adapters = [.. network.Weights.TrainedNames.Where(name => name.EndsWith(LoraSettings.Down, StringComparison.Ordinal) || name.EndsWith(LoraSettings.Up, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>Computes the features of examples and writes them in their order.</summary>
    /// <param name="path">A feature file.</param>
    /// <param name="examples">The examples.</param>
    /// <param name="cancel">Gives up; readers refuse the file then.</param>
    public void Write(string path, IReadOnlyList<Example> examples, CancellationToken cancel = default)
    {
        using FeatureWriter writer = new(path, projection.Columns, projection.Seed);
        long parameters = adapters.Sum(name => network.Weights[name].numel());
        foreach (Example[] together in examples.Chunk((int)Math.Clamp(MostValues / parameters, 1, MostTogether)))
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor gradients = empty(together.Length, parameters, device: network.Weights.Device);
            foreach (int[] batch in Enumerable.Range(0, together.Length).OrderBy(row => together[row].Length).Chunk(batchSize))
            {
                cancel.ThrowIfCancellationRequested();
                using DisposeScope inner = NewDisposeScope();
                gradients.index_copy_(0, tensor([.. batch.Select(row => (long)row)], device: gradients.device), Gradients([.. batch.Select(row => together[row])]));
            }
            float[] rows = [.. Project(gradients).cpu().data<float>()];
            for (int row = 0; row < together.Length; row++)
            {
                Span<float> values = rows.AsSpan(row * projection.Columns, projection.Columns);
                RademacherProjection.Normalise(values);
                writer.Append(values);
            }
        }
        writer.Complete();
    }

    /// <summary>Gradients of examples that run together, each one's own, adapter by adapter in the order of their names.</summary>
    /// <returns>float32 <c>[examples, parameters]</c></returns>
    public Tensor Gradients(IReadOnlyList<Example> examples)
    {
        using DisposeScope scope = NewDisposeScope();
        Batch batch = stage.Batch(examples, network.Weights.Device);
        AdapterTrace trace = new();
        network.Trace = trace;
        Tensor losses = stage.Loss(network, network.Hidden(batch.Ids, batch.Pictures), batch).Losses;
        network.Trace = null;
        IReadOnlyDictionary<string, Tensor> gradients = trace.Gradients(losses, network.Weights, network.Adapters!.Scale);
        return cat([.. adapters.Select(name => gradients[name])], 1).MoveToOuterDisposeScope();
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
        // By bytes first, and then by bits of these: few of the many values that are made are wide.
        Tensor bytes = draws.unsqueeze(1).bitwise_right_shift(arange(0, RademacherProjection.Word, 8, dtype: ScalarType.Int64, device: device)).bitwise_and(tensor(255L, device: device)).to(ScalarType.Byte);
        return bytes.unsqueeze(2).bitwise_and(tensor((byte[])[1, 2, 4, 8, 16, 32, 64, 128], device: device)).eq(0).view(count, projection.Columns).to(ScalarType.Float32).mul_(2).sub_(1);
    }

    // Zeros come in from above, whatever the sign.
    private static Tensor Shifted(Tensor value, int by) =>
        value.bitwise_right_shift(tensor((long)by, device: value.device)).bitwise_and(tensor((1L << (64 - by)) - 1, device: value.device));
}
