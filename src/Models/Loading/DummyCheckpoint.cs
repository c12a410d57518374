using System.Diagnostics.CodeAnalysis;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>
/// Random weights for a config.json: every tensor that is asked for is made in the shape that is asked for. Matrices are BF16,
/// uniform with a variance of 1 / columns; vectors are F32 near 1. The same name always gives the same values.
/// </summary>
/// <param name="folder">Holds the config.json.</param>
/// <param name="named">Name the matrices' values by their seeds instead of making them: the backend does that.</param>
internal sealed unsafe class DummyCheckpoint(string folder, bool named) : Checkpoint
{
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);

    public override string Format => "dummy";

    public override JsonObject Config { get; } = ConfigIn(folder);

    public override JsonObject? GenerationConfig { get; } = JsonFile.TryRead(Path.Combine(folder, "generation_config.json"));

    public override IEnumerable<string> Names => tensors.Keys;

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);

    public override bool Has(string name) => true;

    public override StoredTensor Get(string name, params ReadOnlySpan<long> shape)
    {
        if (!tensors.ContainsKey(name))
            tensors[name] = named && shape.Length > 1 ? Name(name, shape.ToArray()) : Make(name, shape.ToArray());
        return base.Get(name, shape);
    }

    public override Tokenizer? LoadTokenizer() => TokenizerIn(folder);

    protected override void Release()
    {
        foreach (StoredTensor tensor in tensors.Values)
            NativeMemory.AlignedFree((void*)tensor.Address);
        tensors.Clear();
    }

    private static ulong SeedOf(string name) => XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(name));

    private static StoredTensor Name(string name, long[] shape) =>
        new(name, ElementType.BF16, shape, 0, ElementType.BF16.Bytes(shape.Aggregate(1L, (product, length) => product * length))) { Seed = SeedOf(name) };

    private static StoredTensor Make(string name, long[] shape)
    {
        bool matrix = shape.Length > 1;
        ElementType type = matrix ? ElementType.BF16 : ElementType.F32;
        long count = shape.Aggregate(1L, (product, length) => product * length), bytes = type.Bytes(count);
        void* memory = NativeMemory.AlignedAlloc((nuint)bytes + 8, 64);
        ulong seed = SeedOf(name);
        float scale = MathF.Sqrt(3f / shape[^1]) / (1 << 15);
        for (long i = 0; i < count; i += 4)
        {
            ulong draws = RandomStream.Draws(seed, i / 4);
            for (long j = i; j < Math.Min(count, i + 4); j++)
            {
                short draw = (short)(draws >> (int)(16 * (j - i)));
                if (matrix)
                    ((ushort*)memory)[j] = BFloat16.FromSingle(draw * scale);
                else
                    ((float*)memory)[j] = name.EndsWith("norm.weight", StringComparison.Ordinal) ? 1 + draw * 1e-6f : draw * 1e-6f;
            }
        }
        return new StoredTensor(name, type, shape, (nint)memory, bytes);
    }
}
