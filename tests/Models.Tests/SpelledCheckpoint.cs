using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

/// <summary>Tensors of another checkpoint under other names. The other one must outlive it.</summary>
internal sealed unsafe class SpelledCheckpoint(Checkpoint source) : Checkpoint
{
    private readonly Dictionary<string, StoredTensor> tensors = [];
    private readonly List<nint> owned = [];

    public override string Format => "memory";

    public override JsonObject Config => source.Config;

    public override JsonObject? GenerationConfig => null;

    public override IEnumerable<string> Names => tensors.Keys;

    /// <summary>Adds a tensor of the other checkpoint, transposed if asked.</summary>
    public void Add(string name, string original, bool transposed = false)
    {
        Assert.True(source.TryGet(original, out StoredTensor? tensor));
        if (transposed)
        {
            using var copy = new TransposedTensor(tensor);
            tensor = Own(copy.Tensor, copy.Tensor.Shape, [copy.Tensor]);
        }
        tensors[name] = tensor with { Name = name };
    }

    /// <summary>Adds several tensors as one, one behind the other.</summary>
    public void Join(string name, long[] shape, IEnumerable<string> originals)
    {
        StoredTensor[] parts = [.. originals.Select(original => source.TryGet(original, out StoredTensor? tensor) ? tensor : throw new KeyNotFoundException(original))];
        tensors[name] = Own(parts[0], shape, parts) with { Name = name };
    }

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);

    public override XDeepServe.Models.Text.Tokenizer? LoadTokenizer() => null;

    protected override void Release() => owned.ForEach(block => NativeMemory.Free((void*)block));

    private StoredTensor Own(StoredTensor kind, long[] shape, StoredTensor[] parts)
    {
        long bytes = parts.Sum(part => part.Bytes), at = 0;
        byte* memory = (byte*)NativeMemory.Alloc((nuint)bytes);
        owned.Add((nint)memory);
        foreach (StoredTensor part in parts)
        {
            Buffer.MemoryCopy((void*)part.Address, memory + at, bytes - at, part.Bytes);
            at += part.Bytes;
        }
        return kind with { Shape = shape, Address = (nint)memory, Bytes = bytes };
    }
}
