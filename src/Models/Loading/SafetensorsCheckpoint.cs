using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>A folder as Hugging Face publishes models: config.json, safetensors in one file or several, tokenizer.</summary>
internal sealed class SafetensorsCheckpoint : Checkpoint
{
    private const string IndexName = "model.safetensors.index.json";
    private readonly string folder;
    private readonly List<SafetensorsFile> files = [];
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

    protected override void Release() => files.ForEach(file => file.Dispose());

    private IEnumerable<string> Shards()
    {
        string single = Path.Combine(folder, "model.safetensors");
        if (JsonFile.TryRead(Path.Combine(folder, IndexName)) is not { } index)
        {
            if (File.Exists(single))
                return [single];
            string[] all = [.. Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal)];
            return all.Length == 1 ? all : throw new ModelLoadException(
                $"{folder} holds neither model.safetensors nor {IndexName}. Fetch the weights (or use --load-format dummy for random ones).");
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
