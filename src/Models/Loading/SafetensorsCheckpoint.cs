using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>A folder as Hugging Face publishes models: config.json, safetensors in one file or several, tokenizer.</summary>
internal sealed unsafe class SafetensorsCheckpoint : Checkpoint
{
    private const string IndexName = "model.safetensors.index.json";
    private readonly string folder;
    private readonly List<SafetensorsFile> files = [];
    private readonly List<nint> owned = []; // widened factors
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);

    public SafetensorsCheckpoint(string folder)
    {
        this.folder = folder;
        Config = ConfigIn(folder);
        GenerationConfig = JsonFile.TryRead(Path.Combine(folder, "generation_config.json"));
        try
        {
            foreach (string path in Shards())
            {
                SafetensorsFile file = new(path);
                files.Add(file);
                foreach (StoredTensor tensor in file.Tensors)
                    if (!tensors.TryAdd(tensor.Name, tensor))
                        throw new ModelLoadException($"'{tensor.Name}' is in two of the files of {folder}. Leave only the files of one model there.");
            }
            foreach (StoredTensor tensor in tensors.Values.Where(tensor => tensor.Type.HasFactors()).ToArray())
                tensors[tensor.Name] = tensor with { Factors = TakeFactors(tensor) };
        }
        catch
        {
            Release();
            throw;
        }
    }

    public override string Format => "safetensors";

    public override JsonObject Config { get; }

    public override JsonObject? GenerationConfig { get; }

    public override JsonObject? PreprocessorConfig => JsonFile.TryRead(Path.Combine(folder, "preprocessor_config.json"))
        ?? JsonFile.TryRead(Path.Combine(folder, "processor_config.json"))?["image_processor"] as JsonObject;

    public override IEnumerable<string> Names => tensors.Keys;

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);

    public override Tokenizer? LoadTokenizer() => TokenizerIn(folder);

    protected override void Release()
    {
        files.ForEach(file => file.Dispose());
        foreach (nint block in owned)
            NativeMemory.Free((void*)block);
        owned.Clear();
    }

    /// <summary>Takes the factors of a quantised weight out of the list of tensors; widens them if they are no F32.</summary>
    private nint TakeFactors(StoredTensor weight)
    {
        const string Suffix = "weight";
        string name = weight.Name.EndsWith($".{Suffix}", StringComparison.Ordinal)
            ? weight.Name[..^Suffix.Length] + StoredQuantization.FactorSuffix(weight.Type) : $"{weight.Name}_scale";
        if (weight.Shape.Length != 2 || !tensors.Remove(name, out StoredTensor? factors))
            throw new ModelLoadException($"'{weight.Name}' holds {weight.Type}, but '{name}' beside it is missing. Fetch the weights again, or take a bfloat16 version of the model.");
        long count = weight.Type.Factors(weight.Shape[0], weight.Shape[1]);
        long across = weight.Type == ElementType.F8 ? weight.Type.FactorsOf(0, weight.Shape[1]).Count : 1;
        bool fits = factors.Elements == count && factors.Shape is [_] or [_, _] && (factors.Shape.Length == 1 ? across == 1 : factors.Shape[1] == across);
        if (!fits || !factors.Type.IsPlain())
        {
            throw new ModelLoadException(
                $"'{name}' has shape [{string.Join(", ", factors.Shape)}] and type {factors.Type}, but '{weight.Name}' of [{string.Join(", ", weight.Shape)}] needs [{count / across}, {across}] in F32 or BF16. Take a bfloat16 version of the model.");
        }
        if (factors.Type == ElementType.F32)
            return factors.Address;
        nint block = (nint)NativeMemory.Alloc((nuint)count * sizeof(float));
        owned.Add(block);
        for (int row = 0; row < factors.Rows; row++)
            factors.Read(row, new Span<float>((float*)block + (long)row * factors.Columns, factors.Columns));
        return block;
    }

    private IEnumerable<string> Shards()
    {
        string single = Path.Combine(folder, "model.safetensors");
        if (JsonFile.TryRead(Path.Combine(folder, IndexName)) is not { } index)
        {
            if (File.Exists(single))
                return [single];
            string[] all = [.. Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal)];
            return all.Length == 1 ? all : throw new ModelLoadException(
                $"{folder} holds neither model.safetensors nor {IndexName}. Fetch the weights (or use --load-format dummy for random ones, in training --from-scratch true).");
        }
        SortedSet<string> names = new(StringComparer.Ordinal);
        if (index["weight_map"] is not JsonObject map)
            throw new ModelLoadException($"{Path.Combine(folder, IndexName)} holds no weight_map. Fetch it again.");
        foreach ((string tensor, JsonNode? shard) in map)
        {
            if (shard?.GetValueKind() != JsonValueKind.String || Path.GetFileName(shard.GetValue<string>()) != shard.GetValue<string>())
                throw new ModelLoadException($"{Path.Combine(folder, IndexName)} does not name a file for '{tensor}'. Fetch it again.");
            names.Add(shard.GetValue<string>());
        }
        string[] missing = [.. names.Where(name => !File.Exists(Path.Combine(folder, name)))];
        if (missing.Length > 0)
            throw new ModelLoadException($"{folder} lacks {missing.Length} of {names.Count} files of weights: {string.Join(", ", missing.Take(3))}{(missing.Length > 3 ? ", …" : "")}. Fetch them.");
        return names.Select(name => Path.Combine(folder, name));
    }
}
