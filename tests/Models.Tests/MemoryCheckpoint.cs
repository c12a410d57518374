using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

/// <summary>A checkpoint made by a test: small random tensors in memory.</summary>
internal sealed unsafe class MemoryCheckpoint(JsonObject config) : Checkpoint
{
    private readonly Dictionary<string, StoredTensor> tensors = [];
    private readonly Random random = new(7);

    public override string Format => "memory";

    public override JsonObject Config => config;

    public override JsonObject? GenerationConfig => null;

    public override IEnumerable<string> Names => tensors.Keys;

    /// <summary>Adds a random F32 or BF16 tensor; replaces one of the same name.</summary>
    public MemoryCheckpoint Add(string name, ElementType type, float offset, params long[] shape)
    {
        long count = shape.Aggregate(1L, (product, length) => product * length);
        long bytes = type.Bytes(count);
        void* memory = NativeMemory.Alloc((nuint)bytes);
        float scale = shape.Length > 1 ? 1f / MathF.Sqrt(shape[1]) : 0.1f;
        for (long i = 0; i < count; i++)
        {
            float value = offset + (scale * ((random.NextSingle() * 2) - 1));
            if (type == ElementType.F32)
                ((float*)memory)[i] = value;
            else
                ((ushort*)memory)[i] = BFloat16.FromSingle(value);
        }
        Remove(name);
        tensors[name] = new StoredTensor(name, type, shape, (nint)memory, bytes);
        return this;
    }

    public void Remove(string name)
    {
        if (tensors.Remove(name, out StoredTensor? old))
            NativeMemory.Free((void*)old.Address);
    }

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);

    public override XDeepServe.Models.Text.Tokenizer? LoadTokenizer() => null;

    protected override void Release()
    {
        foreach (string name in tensors.Keys.ToArray())
            Remove(name);
    }
}
