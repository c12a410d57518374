using TorchSharp;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Training.Network;
using static TorchSharp.torch;

namespace XDeepServe.Training.Batching;

/// <summary>Examples that run together, padded on the right. Tensors belong to the scope in which it is made.</summary>
public sealed class Batch
{
    /// <summary>What a position without a target holds.</summary>
    public const long Unlearned = -100;

    private const int LengthUnit = 32; // tokens that lengths are rounded up to on a GPU

    /// <summary>Makes a batch.</summary>
    /// <param name="examples">At least one, each of as many sequences.</param>
    /// <param name="device">Where the tensors go.</param>
    /// <param name="images">Reads images; null for a model of text.</param>
    /// <exception cref="ImageException">An image cannot be decoded.</exception>
    public Batch(IReadOnlyList<Example> examples, Device device, Pixels? images = null)
    {
        Examples = examples;
        Sequence[] sequences = [.. examples.SelectMany(example => example.Sequences)];
        int longest = sequences.Max(sequence => sequence.Ids.Length);
        // The first step at a length that was not met before takes several times as long as the next.
        int length = device.type == DeviceType.CUDA ? (longest + LengthUnit - 1) / LengthUnit * LengthUnit : longest;
        long[] ids = new long[sequences.Length * length];
        long[] targets = new long[ids.Length];
        Array.Fill(targets, Unlearned);
        for (int row = 0; row < sequences.Length; row++)
        {
            int[] tokens = sequences[row].Ids;
            for (int i = 0; i < tokens.Length; i++)
                ids[row * length + i] = tokens[i];
            foreach ((int start, int end) in sequences[row].Learned)
                for (int i = Math.Max(1, start); i < end; i++)
                    targets[row * length + i - 1] = tokens[i];
        }
        long[] shape = [sequences.Length, length];
        Ids = tensor(ids, shape, device: device);
        Targets = tensor(targets, shape, device: device);
        Last = tensor([.. sequences.Select(sequence => sequence.Ids.Length - 1L)], device: device);
        Pictures = images is null ? null : Read(sequences, images, device);
        Tokens = sequences.Sum(sequence => (long)sequence.Ids.Length);
    }

    /// <summary>The examples.</summary>
    public IReadOnlyList<Example> Examples { get; }

    /// <summary>Sequences of each example.</summary>
    public int Width => Examples[0].Sequences.Count;

    /// <summary>Token ids, int64 <c>[sequences, length]</c>.</summary>
    public Tensor Ids { get; }

    /// <summary>The token that each position is to predict, or <see cref="Unlearned"/>: int64 <c>[sequences, length]</c>.</summary>
    public Tensor Targets { get; }

    /// <summary>Each sequence's last position, int64 <c>[sequences]</c>.</summary>
    public Tensor Last { get; }

    /// <summary>What the image tokens show; null if there are none.</summary>
    public Pictures? Pictures { get; }

    /// <summary>Tokens without padding.</summary>
    public long Tokens { get; }

    /// <summary>Hidden states of each sequence's last position.</summary>
    /// <param name="hidden"><c>[sequences, length, hidden]</c></param>
    /// <returns><c>[sequences, hidden]</c></returns>
    public Tensor AtLast(Tensor hidden) => hidden[arange(hidden.shape[0], device: hidden.device), Last];

    /// <summary>One number of each example, float32 <c>[examples]</c>.</summary>
    public Tensor Column(Func<Example, double> value) => tensor([.. Examples.Select(example => (float)value(example))], device: Ids.device);

    // Answers to one prompt show the same image, which is read and encoded once.
    private static Pictures? Read(Sequence[] sequences, Pixels images, Device device)
    {
        List<string> files = [];
        Dictionary<string, long> places = new(StringComparer.Ordinal);
        List<long> order = [];
        foreach (string file in sequences.SelectMany(sequence => sequence.Images))
        {
            if (places.TryAdd(file, files.Count))
                files.Add(file);
            order.Add(places[file]);
        }
        return order.Count == 0 ? null : new Pictures(
            tensor(images.Read(files), [files.Count, ImageConfig.Channels, images.Size, images.Size], device: device), tensor([.. order], device: device));
    }
}
