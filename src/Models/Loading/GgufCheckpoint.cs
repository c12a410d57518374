using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>
/// A GGUF file under Hugging Face's names. Tensors are used where they lie; merged experts appear one by one, and the latent's
/// expansion is put together again from the two tensors that llama.cpp wants.
/// </summary>
internal sealed unsafe class GgufCheckpoint : Checkpoint
{
    private readonly string folder;
    private readonly GgufFile file;
    private readonly GgufArchitecture architecture;
    private readonly GgufConfig metadata;
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);
    private readonly List<nint> owned = [];

    public GgufCheckpoint(string path)
    {
        folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        GenerationConfig = JsonFile.TryRead(Path.Combine(folder, "generation_config.json"));
        file = new GgufFile(path);
        try
        {
            string name = file.Metadata.GetValueOrDefault("general.architecture") as string ?? "?";
            architecture = GgufArchitecture.All.FirstOrDefault(candidate => candidate.Name == name)
                ?? throw new ModelLoadException($"{path} holds the architecture '{name}'; {string.Join(", ", GgufArchitecture.All.Select(known => known.Name))} can be served.");
            metadata = new GgufConfig(file, architecture);
            Config = metadata.Read();
            MapTensors();
        }
        catch
        {
            Release();
            throw;
        }
    }

    public override string Format => "gguf";

    public override JsonObject Config { get; }

    public override JsonObject? GenerationConfig { get; }

    public override IEnumerable<string> Names => tensors.Keys;

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);

    public override Tokenizer? LoadTokenizer()
    {
        if (TokenizerIn(folder) is { } beside)
            return beside;
        if (!file.Metadata.ContainsKey("tokenizer.ggml.tokens"))
            return null;
        List<object> List(string key) => file.Metadata.GetValueOrDefault($"tokenizer.ggml.{key}") as List<object> ?? [];
        int? Id(string key) => file.Metadata.GetValueOrDefault($"tokenizer.ggml.{key}_token_id") is ulong id and <= int.MaxValue ? (int)id : null;
        string kind = file.Metadata.GetValueOrDefault("tokenizer.ggml.model") as string ?? "";
        return Tokenizer.FromGguf(new GgufTokenizer(
            kind,
            [.. List("tokens").Select(token => token as string ?? "")],
            [.. List("token_type").Select(type => type is long value ? (int)value : 1)],
            [.. List("merges").Select(merge => merge as string ?? "")],
            [.. List("scores").Select(score => score is double value ? (float)value : 0)],
            file.Metadata.GetValueOrDefault("tokenizer.ggml.pre") as string ?? "",
            Id("bos"), Id("eos"), file.Metadata.GetValueOrDefault("tokenizer.ggml.add_bos_token") as bool? ?? kind == GgufTokenizer.SentencePiece,
            file.Metadata.GetValueOrDefault("tokenizer.ggml.add_space_prefix") is not false,
            file.Metadata.GetValueOrDefault("tokenizer.chat_template") as string));
    }

    protected override void Release()
    {
        file.Dispose();
        foreach (nint block in owned)
            NativeMemory.Free((void*)block);
        owned.Clear();
    }

    private void MapTensors()
    {
        long layers = metadata.Layers;
        foreach ((string gguf, string name) in GgufArchitecture.ModelTensors)
            Map(gguf, name);
        for (int layer = 0; layer < layers; layer++)
        {
            foreach ((string gguf, string name) in architecture.LayerTensors)
                Map($"blk.{layer}.{gguf}", $"model.layers.{layer}.{name}");
            foreach ((string gguf, string name) in GgufArchitecture.Experts)
                if (file.Tensors.TryGetValue($"blk.{layer}.{gguf}", out StoredTensor? merged))
                    Split(merged, expert => $"model.layers.{layer}.mlp.experts.{expert}.{name}");
            if (architecture.IsLatent)
                JoinExpansion(layer);
        }
    }

    private void Map(string gguf, string name)
    {
        if (file.Tensors.TryGetValue(gguf, out StoredTensor? tensor))
            tensors[name] = architecture.RotatesNeighbours && GgufArchitecture.IsRotated(name) ? Reorder(tensor, name) : tensor with { Name = name };
    }

    /// <summary>A copy of a query or key projection with its rows in Hugging Face's order.</summary>
    private StoredTensor Reorder(StoredTensor tensor, string name)
    {
        bool vector = tensor.Shape.Length == 1;
        long count = vector ? tensor.Columns : tensor.Rows, bytes = tensor.Type.Bytes(vector ? 1 : tensor.Columns);
        int width = metadata.HeadWidth;
        if (width < 2 || width % 2 != 0 || count % width != 0 || (vector && !tensor.Type.IsPlain()))
            throw new ModelLoadException($"'{tensor.Name}' has {count} rows, which are no whole heads of {width}. Convert the model again with a current tool.");
        byte* copy = (byte*)NativeMemory.Alloc((nuint)tensor.Bytes);
        owned.Add((nint)copy);
        for (int row = 0; row < count; row++)
            new ReadOnlySpan<byte>((byte*)tensor.Address + row * bytes, (int)bytes).CopyTo(new Span<byte>(copy + GgufArchitecture.PublishedRow(row, width) * bytes, (int)bytes));
        return tensor with { Name = name, Address = (nint)copy, File = null };
    }

    private void Split(StoredTensor merged, Func<int, string> name)
    {
        if (merged.Shape.Length != 3)
            throw new ModelLoadException($"'{merged.Name}' must have three dimensions: experts, rows, columns. Convert the model again with a current tool.");
        long bytes = merged.Bytes / merged.Shape[0];
        for (int expert = 0; expert < merged.Shape[0]; expert++)
        {
            tensors[name(expert)] = merged with
            {
                Name = name(expert),
                Shape = merged.Shape[1..],
                Address = merged.Address + (nint)(expert * bytes),
                Bytes = bytes,
            };
        }
    }

    /// <summary>kv_b [heads · (plain + value), rank] from k_b [heads, rank, plain] and v_b [heads, value, rank], or as older files hold it.</summary>
    private void JoinExpansion(int layer)
    {
        string name = $"model.layers.{layer}.self_attn.kv_b_proj.weight";
        Map($"blk.{layer}.attn_kv_b.weight", name);
        if (!file.Tensors.TryGetValue($"blk.{layer}.attn_k_b.weight", out StoredTensor? keys)
            || !file.Tensors.TryGetValue($"blk.{layer}.attn_v_b.weight", out StoredTensor? values))
        {
            return;
        }
        if (keys.Shape.Length != 3 || values.Shape.Length != 3 || keys.Shape[0] != values.Shape[0] || keys.Shape[1] != values.Shape[2])
            throw new ModelLoadException($"'{keys.Name}' and '{values.Name}' do not fit together. Convert the model again with a current tool.");
        (int heads, int rank, int plain, int value) = ((int)keys.Shape[0], (int)keys.Shape[1], (int)keys.Shape[2], (int)values.Shape[1]);
        // Halves stay halves: they are moved as they are. Any other type is joined as F32.
        bool halves = keys.Type == values.Type && keys.Type is ElementType.BF16 or ElementType.F16;
        ElementType type = halves ? keys.Type : ElementType.F32;
        long bytes = type.Bytes((long)heads * (plain + value) * rank);
        void* joined = NativeMemory.Alloc((nuint)bytes);
        owned.Add((nint)joined);
        if (halves)
            Join<ushort>((ushort*)joined, (tensor, row, target) => new ReadOnlySpan<ushort>((ushort*)tensor.Address + row * tensor.Columns, (int)tensor.Columns).CopyTo(target));
        else
            Join<float>((float*)joined, (tensor, row, target) => tensor.Read((int)row, target));

        void Join<T>(T* joined, RowReader<T> read)
            where T : unmanaged
        {
            T[] row = new T[plain];
            for (int head = 0; head < heads; head++)
            {
                T* target = joined + (long)head * (plain + value) * rank;
                for (int i = 0; i < rank; i++)
                {
                    read(keys, (long)head * rank + i, row);
                    for (int j = 0; j < plain; j++)
                        target[(long)j * rank + i] = row[j];
                }
                for (int i = 0; i < value; i++)
                    read(values, (long)head * value + i, new Span<T>(target + (long)(plain + i) * rank, rank));
            }
        }
        tensors[name] = new StoredTensor(name, type, [(long)heads * (plain + value), rank], (nint)joined, bytes);
    }

    private delegate void RowReader<T>(StoredTensor tensor, long row, Span<T> target);
}
