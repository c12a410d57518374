using XDeepServe.Kernels;
using XDeepServe.Models.Families;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>
/// Brings tensors of a checkpoint onto a backend: checks their shapes, fuses pieces, quantises if asked. Owns all that it
/// loaded until it is disposed; the checkpoint must outlive it, because a backend may use mapped rows as they are.
/// </summary>
/// <param name="checkpoint">The opened files.</param>
/// <param name="backend">Takes the weights.</param>
/// <param name="quantization">Type for linear weights; null to keep the file's.</param>
/// <param name="family">Knows how published files spell the names; null if they are spelled as asked for.</param>
public sealed class WeightLoader(Checkpoint checkpoint, Backend backend, ElementType? quantization, Family? family = null) : IDisposable
{
    private const long ArenaChunk = 1 << 20;
    private readonly Stack<IDisposable> owned = new();
    private Arena? arena; // the last of those owned, with space left for small tensors

    /// <summary>The backend that takes the weights.</summary>
    public Backend Backend => backend;

    /// <summary>Gives a layer's routed experts where they are not loaded; null to load them.</summary>
    public Func<int, ExpertBank>? Elsewhere { get; set; }

    /// <summary>Bytes of everything loaded so far.</summary>
    public long Bytes { get; private set; }

    /// <summary>Whether the checkpoint holds a tensor, however it is spelled.</summary>
    public bool Has(string name) => checkpoint.Has(name) || (family is not null && family.Spellings(name).Any(spelling => checkpoint.Has(spelling.Name)));

    /// <summary>A linear weight from one tensor or from several with equal columns, one behind the other.</summary>
    /// <param name="columns">Input features.</param>
    /// <param name="parts">Names and output features.</param>
    /// <exception cref="ModelLoadException">Missing or misshapen.</exception>
    public Weight Linear(int columns, params IReadOnlyList<WeightPart> parts)
    {
        if (parts.Select(part => Locate(part, [part.Rows, columns], out _).Type).Distinct().Count() == 1)
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
            StoredTensor stored = Find(part, part.Rows);
            if (!stored.Type.IsPlain())
                throw new ModelLoadException($"'{stored.Name}' holds {stored.Type}, but a norm or bias must hold F32, F16 or BF16. Convert the model again with 'xds convert'.");
            stored.Read(0, values.AsSpan(start, part.Rows));
            start += part.Rows;
        }
        backend.Upload<float>(vector, values);
        return vector;
    }

    /// <summary>A whole matrix as an F32 tensor <c>[rows, columns]</c>: a table that is added, not multiplied with.</summary>
    /// <exception cref="ModelLoadException">Missing or misshapen.</exception>
    public Tensor Rows(int columns, WeightPart part)
    {
        StoredTensor stored = Find(part, part.Rows, columns);
        Tensor table = Allocate(part.Rows, columns);
        float[] values = new float[columns];
        for (int row = 0; row < part.Rows; row++)
        {
            stored.Read(row, values);
            backend.Upload<float>(table.Slice(row, 1), values);
        }
        return table;
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

    /// <summary>A tensor in the shape that is asked for.</summary>
    private StoredTensor Find(WeightPart part, params ReadOnlySpan<long> shape)
    {
        StoredTensor stored = Locate(part, shape, out bool transposed);
        if (!transposed)
            return stored;
        var copy = new TransposedTensor(stored);
        owned.Push(copy);
        return copy.Tensor;
    }

    /// <summary>A tensor as it lies in the file, under the first of its names that is there.</summary>
    private StoredTensor Locate(WeightPart part, ReadOnlySpan<long> shape, out bool transposed)
    {
        transposed = false;
        if (part.Shape is not null)
            shape = part.Shape;
        if (checkpoint.Has(part.Name))
            return checkpoint.Get(part.Name, shape);
        string? published = null;
        foreach (Spelling spelling in family?.Spellings(part.Name) ?? [])
        {
            published ??= spelling.Name;
            if (!checkpoint.Has(spelling.Name))
                continue;
            transposed = spelling.Transposed;
            return transposed ? checkpoint.Get(spelling.Name, shape[1], shape[0]) : checkpoint.Get(spelling.Name, shape);
        }
        return checkpoint.Get(published ?? part.Name, shape);
    }

    /// <summary>Quantises what is asked to be and is not yet.</summary>
    private Weight PrepareLinear(WeightSource source)
    {
        ElementType fitting = quantization is { } asked && source.Type.IsPlain() ? Quantization.Fitting(asked, source.Columns) : source.Type;
        return backend.Prepare(source, fitting.IsPlain() ? source.Type : fitting);
    }

    /// <summary>Some rows of a tensor as a piece.</summary>
    private static WeightPiece Piece(StoredTensor stored, int first, int rows, int columns)
    {
        if (first == 0)
            return new WeightPiece(stored.Address, rows, stored.File, stored.Factors, stored.Seed);
        nint factors = stored.Factors == 0 ? 0 : stored.Factors + (nint)(stored.Type.FactorsOf(first, columns).First * sizeof(float));
        return stored.Address == 0
            ? new WeightPiece(0, rows, stored.File, factors, stored.Seed + (ulong)first)
            : new WeightPiece(stored.Address + (nint)stored.Type.Bytes((long)first * columns), rows, stored.File, factors);
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
            StoredTensor stored = Find(parts[i], parts[i].Rows, columns);
            if (type is { } first && first != stored.Type)
            {
                throw new ModelLoadException(
                    $"'{parts[0].Name}' holds {first} and '{stored.Name}' {stored.Type}, but they are used as one matrix. Convert the model to one type with 'xds convert'.");
            }
            type = stored.Type;
            pieces[i] = Piece(stored, parts[i].First, parts[i].Rows, columns);
        }
        return new WeightSource(type!.Value, columns, groups, pieces);
    }
}

/// <summary>A tensor of the checkpoint as a piece of a weight.</summary>
/// <param name="Name">Hugging Face name.</param>
/// <param name="Rows">Output features that it must have.</param>
/// <param name="Shape">Its dimensions where they are more than rows and columns: the experts of a layer in one tensor, a convolution's patch; null for rows and columns.</param>
/// <param name="First">First row that is wanted, where <paramref name="Rows"/> are not all that the shape has.</param>
public readonly record struct WeightPart(string Name, int Rows, long[]? Shape = null, int First = 0);
