using TorchSharp;
using static TorchSharp.torch;

namespace XDeepServe.Training.Network;

/// <summary>
/// A network's weights by their Hugging Face names. Those that are trained lie in one flat buffer each for the float32 masters, the
/// values that the network computes with, and the gradients, so that an optimiser's step is a handful of operations over all of them.
/// Owns its tensors.
/// </summary>
public sealed class TrainedWeights : IDisposable
{
    private readonly Dictionary<string, Tensor> tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (long Start, long[] Shape)> places = new(StringComparer.Ordinal);
    private readonly List<Tensor> views = [];

    /// <summary>Takes weights over.</summary>
    /// <param name="source">Each weight's float32 values by name, <c>[shape of the weight]</c>; disposed of as they are taken.</param>
    /// <param name="trains">Which are trained.</param>
    /// <param name="type">What the network computes with: Float32 or BFloat16.</param>
    /// <param name="device">Where.</param>
    public TrainedWeights(IReadOnlyDictionary<string, Tensor> source, Func<string, bool> trains, ScalarType type, Device device)
    {
        Type = type;
        Device = device;
        // Matrices first: weight decay is for them alone, and so for a range of the buffers.
        string[] trained = [.. source.Keys.Where(trains).OrderBy(name => source[name].shape.Length > 1 ? 0 : 1).ThenBy(name => name, StringComparer.Ordinal)];
        long total = trained.Sum(name => source[name].numel());
        using IDisposable unrecorded = no_grad();
        Masters = empty(total, dtype: ScalarType.Float32, device: device);
        Values = type == ScalarType.Float32 ? Masters : empty(total, dtype: type, device: device);
        Gradients = zeros(total, dtype: type, device: device);
        long start = 0;
        foreach (string name in trained)
        {
            using Tensor given = source[name];
            long count = given.numel();
            Masters.narrow(0, start, count).copy_(given.flatten());
            places[name] = (start, given.shape);
            start += count;
            if (given.shape.Length > 1)
                Decayed = start;
        }
        Refresh();
        foreach ((string name, (long from, long[] shape)) in places)
        {
            long count = shape.Aggregate(1L, (product, length) => product * length);
            Tensor view = Values.narrow(0, from, count).view(shape).detach().requires_grad_(true);
            Tensor gradient = Gradients.narrow(0, from, count).view(shape);
            view.grad = gradient; // what autograd adds to from now on
            views.Add(gradient);
            tensors[name] = view;
        }
        foreach (string name in source.Keys.Where(name => !places.ContainsKey(name)))
        {
            using Tensor given = source[name];
            tensors[name] = given.to(type, device, copy: true);
        }
        foreach (Tensor tensor in tensors.Values.Concat(views).Append(Masters).Append(Values).Append(Gradients))
            tensor.DetachFromDisposeScope();
    }

    /// <summary>What the network computes with.</summary>
    public ScalarType Type { get; }

    /// <summary>Where.</summary>
    public Device Device { get; }

    /// <summary>Float32 values of all trained weights, <c>[trained]</c>.</summary>
    public Tensor Masters { get; }

    /// <summary>The values that the network computes with; the masters themselves in float32. <c>[trained]</c></summary>
    public Tensor Values { get; }

    /// <summary>Sum of the gradients since they were cleared, in the network's type. <c>[trained]</c></summary>
    public Tensor Gradients { get; }

    /// <summary>How many of the trained values, from the front, belong to matrices.</summary>
    public long Decayed { get; }

    /// <summary>Names of all weights.</summary>
    public IEnumerable<string> Names => tensors.Keys;

    /// <summary>Names of the trained weights.</summary>
    public IEnumerable<string> TrainedNames => places.Keys;

    /// <summary>A weight, in the network's type.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    public Tensor this[string name] => tensors.TryGetValue(name, out Tensor? tensor) ? tensor : throw new KeyNotFoundException($"The model has no weight '{name}'.");

    /// <summary>A weight, or null.</summary>
    public Tensor? TryGet(string name) => tensors.GetValueOrDefault(name);

    /// <summary>Puts the masters' values, rounded, where the network computes with them.</summary>
    public void Refresh()
    {
        if (Type == ScalarType.Float32)
            return;
        using IDisposable unrecorded = no_grad();
        Values.copy_(Masters);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in tensors.Values.Concat(views))
            tensor.Dispose();
        Gradients.Dispose();
        if (!ReferenceEquals(Values, Masters))
            Values.Dispose();
        Masters.Dispose();
    }
}
