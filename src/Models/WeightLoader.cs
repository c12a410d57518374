using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>
/// Brings tensors of a checkpoint onto a backend: checks their shapes, fuses pieces, quantises if asked. Owns all that it
/// loaded until it is disposed; the checkpoint must outlive it, because a backend may use mapped rows as they are.
/// </summary>
/// <param name="checkpoint">The opened files.</param>
/// <param name="backend">Takes the weights.</param>
/// <param name="quantization">Type for linear weights; null to keep the file's.</param>
public sealed class WeightLoader(Checkpoint checkpoint, Backend backend, ElementType? quantization) : IDisposable
{
    private const long ArenaChunk = 1 << 20;
    private readonly Stack<IDisposable> owned = new();
    private Arena? arena; // the last of those owned, with space left for small tensors

    /// <summary>The backend that takes the weights.</summary>
    public Backend Backend => backend;

    /// <summary>Bytes of everything loaded so far.</summary>
    public long Bytes { get; private set; }

    /// <summary>Whether the checkpoint holds a tensor.</summary>
    public bool Has(string name) => checkpoint.Has(name);

    /// <summary>A linear weight from one tensor or from several with equal columns, one behind the other.</summary>
    /// <param name="columns">Input features.</param>
    /// <param name="parts">Names and output features.</param>
    /// <exception cref="ModelLoadException">Missing or misshapen.</exception>
    public Weight Linear(int columns, params IReadOnlyList<WeightPart> parts)
    {
        if (parts.Select(part => checkpoint.Get(part.Name, part.Rows, columns).Type).Distinct().Count() == 1)
            return Grouped(1, columns, parts);
        // Files in several quantised types: each part keeps its own.
        StackedWeight stack = new([.. parts.Select(part => PrepareLinear(Source(1, columns, [part])))]);
        return Own(stack);
    }

    /// <summary>Linear weights of all experts: the parts of expert 0, then those of expert 1, …</summary>
    /// <exception cref="ModelLoadException">Missing, misshapen or of mixed types.</exception>
    public Weight Grouped(int groups, int columns, IReadOnlyList<WeightPart> parts) => Own(PrepareLinear(Source(groups, columns, parts)));

    /// <summary>A weight that is never quantised: an embedding table, the latent's expansion. Becomes F32 if <paramref name="plain"/>, unless it holds BF16.</summary>
    public Weight Unquantized(int columns, WeightPart part, bool plain)
    {
        WeightSource source = Source(1, columns, [part]);
        return Own(backend.Prepare(source, plain && source.Type != ElementType.BF16 ? ElementType.F32 : source.Type));
    }

    /// <summary>A weight in F32, whatever the file holds: a router.</summary>
    public Weight Single(int columns, WeightPart part) => Own(backend.Prepare(Source(1, columns, [part]), ElementType.F32));

    /// <summary>Gains or biases, one behind the other, as F32 <c>[1, n]</c>.</summary>
    /// <exception cref="ModelLoadException">Missing or misshapen.</exception>
    public Tensor Vector(params IReadOnlyList<WeightPart> parts) => Padded(0, parts);

    /// <summary>Like <see cref="Vector"/>, behind <paramref name="zeros"/> zeros.</summary>
    public Tensor Padded(int zeros, params IReadOnlyList<WeightPart> parts)
    {
        Tensor vector = Allocate(1, zeros + parts.Sum(part => part.Rows));
        float[] values = new float[vector.Columns];
        int start = zeros;
        foreach (WeightPart part in parts)
        {
            StoredTensor stored = checkpoint.Get(part.Name, part.Rows);
            if (!stored.Type.IsPlain())
                throw new ModelLoadException($"'{stored.Name}' holds {stored.Type}, but a norm or bias must hold F32, F16 or BF16. Convert the model again with 'xds convert'.");
            stored.Read(0, values.AsSpan(start, part.Rows));
            start += part.Rows;
        }
        backend.Upload<float>(vector, values);
        return vector;
    }

    /// <summary>An F32 tensor that lives as long as the loader.</summary>
    public Tensor Allocate(int rows, int columns)
    {
        long need = Arena.BytesFor(ElementType.F32, rows, columns);
        if (arena is null || arena.Used + need > arena.Bytes)
            owned.Push(arena = backend.CreateArena(Math.Max(need, ArenaChunk)));
        Bytes += need;
        return arena.Allocate(ElementType.F32, rows, columns);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        while (owned.TryPop(out IDisposable? item))
            item.Dispose();
    }

    /// <summary>Quantises what is asked to be and is not yet.</summary>
    private Weight PrepareLinear(WeightSource source)
    {
        ElementType fitting = quantization is { } asked && source.Type.IsPlain() ? Quantization.Fitting(asked, source.Columns) : source.Type;
        return backend.Prepare(source, fitting.IsPlain() ? source.Type : fitting);
    }

    private Weight Own(Weight weight)
    {
        owned.Push(weight);
        Bytes += weight.Bytes;
        return weight;
    }

    private WeightSource Source(int groups, int columns, IReadOnlyList<WeightPart> parts)
    {
        var pieces = new WeightPiece[parts.Count];
        ElementType? type = null;
        for (int i = 0; i < pieces.Length; i++)
        {
            StoredTensor stored = checkpoint.Get(parts[i].Name, parts[i].Rows, columns);
            if (type is { } first && first != stored.Type)
            {
                throw new ModelLoadException(
                    $"'{parts[0].Name}' holds {first} and '{stored.Name}' {stored.Type}, but they are used as one matrix. Convert the model to one type with 'xds convert'.");
            }
            type = stored.Type;
            pieces[i] = new WeightPiece(stored.Address, parts[i].Rows, stored.File, stored.Factors);
        }
        return new WeightSource(type!.Value, columns, groups, pieces);
    }
}

/// <summary>A tensor of the checkpoint as a piece of a weight.</summary>
/// <param name="Name">Hugging Face name.</param>
/// <param name="Rows">Output features that it must have.</param>
public readonly record struct WeightPart(string Name, int Rows);
