using XDeepServe.Alignment.Scenes;

namespace XDeepServe.Training.Tests;

/// <summary>A folder with a world of scenes and a tiny LLaVA without weights; removed in the end.</summary>
internal sealed class SceneModel : IDisposable
{
    public SceneModel(int pairs)
    {
        SceneWorld.Write(Folder, new SceneWorldSettings { Pairs = pairs, Held = 4, Size = 24, Seed = 3 });
        File.WriteAllText(At("config.json"), $$"""
            {
              "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": {{SceneTokenizer.ImageId}}, "eos_token_id": {{SceneTokenizer.EndId}},
              "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 24, "patch_size": 8},
              "text_config": {"model_type": "llama", "vocab_size": {{SceneTokenizer.Count}}, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
            }
            """);
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("xds-scenes-").FullName;

    public string At(string name) => Path.Combine(Folder, name);

    /// <summary>Settings for one of the world's data sets.</summary>
    public TrainingSettings Settings(string data, string output = "out") => new()
    {
        ModelNameOrPath = Folder,
        FromScratch = true,
        TrainData = [At($"{data}.train.jsonl")],
        OutputDir = At(output),
        LearningRate = 3e-3,
        PerDeviceTrainBatchSize = 4,
        LoggingSteps = 1,
        Seed = 7,
        Device = "cpu",
        MaxLength = 256,
    };

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
