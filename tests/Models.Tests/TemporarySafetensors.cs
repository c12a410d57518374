using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

internal sealed class TemporarySafetensors : Checkpoint
{
    private readonly Dictionary<string, StoredTensor> tensors = [];
    private readonly List<MappedFile> files = [];
    private readonly JsonObject config;
    private readonly JsonObject? generation;

    public TemporarySafetensors(string folder)
    {
        config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        generation = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "generation_config.json")))!.AsObject();
        foreach (string path in Directory.GetFiles(folder, "*.safetensors"))
        {
            MappedFile file = MappedFile.Open(path);
            files.Add(file);
            long length = BinaryPrimitives.ReadInt64LittleEndian(file.Span(0, 8));
            foreach ((string name, JsonNode? node) in JsonNode.Parse(file.Span(8, (int)length))!.AsObject())
            {
                if (name == "__metadata__")
                    continue;
                long start = node!["data_offsets"]![0]!.GetValue<long>();
                long end = node["data_offsets"]![1]!.GetValue<long>();
                tensors[name] = new StoredTensor(name, Enum.Parse<ElementType>(node["dtype"]!.GetValue<string>()),
                    [.. node["shape"]!.AsArray().Select(n => n!.GetValue<long>())], file.Address + (nint)(8 + length + start), end - start, file);
            }
        }
    }

    public override string Format => "safetensors";
    public override JsonObject Config => config;
    public override JsonObject? GenerationConfig => generation;
    public override IEnumerable<string> Names => tensors.Keys;
    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => tensors.TryGetValue(name, out tensor);
    protected override void Release() => files.ForEach(file => file.Dispose());
}
