using System.Text.Json;

namespace XDeepServe.Training.Tests;

/// <summary>A folder with a tiny Qwen3 without weights, a tokenizer, and data; removed in the end.</summary>
internal sealed class TinyModel : IDisposable
{
    public TinyModel()
    {
        foreach (string name in new[] { "tokenizer.json", "tokenizer_config.json" })
            File.Copy(Path.Combine(AppContext.BaseDirectory, "tokenizer", name), At(name));
        File.WriteAllText(At("config.json"), """
            {
              "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
              "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 8192, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
              "max_position_embeddings": 1024, "tie_word_embeddings": true, "eos_token_id": 8178
            }
            """);
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("xds-train-").FullName;

    public string At(string name) => Path.Combine(Folder, name);

    /// <summary>Writes a file of JSON lines.</summary>
    public string Data(string name, IEnumerable<object> rows)
    {
        File.WriteAllLines(At(name), rows.Select(row => JsonSerializer.Serialize(row)));
        return At(name);
    }

    /// <summary>Pairs whose better answer says yes.</summary>
    public string Pairs(int count, string name = "pairs.jsonl") => Data(name, Enumerable.Range(0, count).Select(i => (object)new
    {
        prompt = $"Is {i} a number? {new string('?', i % 7)}",
        chosen = $"Yes, {i} is one.",
        rejected = $"No, {i * i} potatoes{string.Concat(Enumerable.Repeat(" and more", i % 5))}.",
    }));

    public TrainingSettings Settings(string data, string output = "out") => new()
    {
        ModelNameOrPath = Folder,
        FromScratch = true,
        TrainData = [data],
        OutputDir = At(output),
        LearningRate = 3e-3,
        PerDeviceTrainBatchSize = 4,
        LoggingSteps = 1,
        Seed = 7,
        Device = "cpu",
        MaxLength = 512,
    };

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
