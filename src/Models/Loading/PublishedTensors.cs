using System.Diagnostics.CodeAnalysis;
using XDeepServe.Kernels;
using XDeepServe.Models.Families;

namespace XDeepServe.Models.Loading;

/// <summary>Finds a model's tensors under Llama's names, however its files spell them. Owns what it had to turn over.</summary>
/// <param name="checkpoint">The files.</param>
/// <param name="family">Knows the spellings.</param>
internal sealed class PublishedTensors(Checkpoint checkpoint, Family family) : IDisposable
{
    private readonly Dictionary<string, TransposedTensor> turned = new(StringComparer.Ordinal);

    /// <summary>Whether a tensor is there.</summary>
    public bool Has(string name) => checkpoint.Has(name) || family.Spellings(name).Any(spelling => checkpoint.Has(spelling.Name));

    /// <summary>Finds a tensor, output features first.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor)
    {
        if (checkpoint.TryGet(name, out tensor))
            return true;
        foreach (Spelling spelling in family.Spellings(name))
        {
            if (!checkpoint.TryGet(spelling.Name, out tensor))
                continue;
            if (spelling.Transposed)
            {
                if (!turned.TryGetValue(name, out TransposedTensor? copy))
                    turned[name] = copy = new TransposedTensor(tensor);
                tensor = copy.Tensor;
            }
            return true;
        }
        return false;
    }

    /// <summary>One projection of all experts of a layer; null if there are none.</summary>
    /// <param name="prefix">Name of the unit: <c>model.layers.0.mlp</c>.</param>
    /// <param name="name">Name within an expert: <c>up_proj.weight</c>.</param>
    /// <param name="experts">How many experts there are, and how wide they are.</param>
    /// <exception cref="ModelLoadException">Some are missing.</exception>
    public StoredTensor[]? Experts(string prefix, string name, ExpertConfig experts)
    {
        if (TryGet($"{prefix}.experts.0.{name}", out _))
        {
            return [.. Enumerable.Range(0, experts.Count).Select(expert => TryGet($"{prefix}.experts.{expert}.{name}", out StoredTensor? tensor) ? tensor
                : throw new ModelLoadException($"'{prefix}.experts.{expert}.{name}' is missing from the model. Fetch the weights again."))];
        }
        bool down = name.StartsWith("down", StringComparison.Ordinal);
        if (!TryGet(down ? $"{prefix}.experts.down_proj" : $"{prefix}.experts.gate_up_proj", out StoredTensor? merged))
            return null;
        if (merged.Shape.Length != 3 || merged.Shape[0] != experts.Count || (!down && merged.Shape[1] != 2 * experts.Width))
            throw new ModelLoadException($"'{merged.Name}' has shape [{string.Join(", ", merged.Shape)}], which does not fit the config.json.");
        long rows = down ? merged.Shape[1] : experts.Width, bytes = merged.Type.Bytes(merged.Shape[2]);
        long skip = name.StartsWith("up", StringComparison.Ordinal) ? rows : 0; // gate first, then up
        return [.. Enumerable.Range(0, experts.Count).Select(expert => merged with
        {
            Name = $"{prefix}.experts.{expert}.{name}",
            Shape = [rows, merged.Shape[2]],
            Address = merged.Address + (nint)((expert * merged.Shape[1] + skip) * bytes),
            Bytes = rows * bytes,
        })];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (TransposedTensor copy in turned.Values)
            copy.Dispose();
    }
}
