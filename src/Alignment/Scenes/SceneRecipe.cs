using System.Text.Json;

namespace XDeepServe.Alignment.Scenes;

/// <summary>
/// What it takes to train on a world of scenes at once: the shape of a tiny LLaVA without weights, and RoVRM's recipe over the world's data sets.
/// </summary>
public static class SceneRecipe
{
    private static readonly string[] Architectures = ["LlavaForConditionalGeneration"];

    /// <summary>Writes <c>config.json</c>, <c>preprocessor_config.json</c> and <c>recipe.yaml</c> beside the data.</summary>
    /// <param name="folder">The world's.</param>
    /// <param name="size">Height and width of its images; a multiple of 3: a patch is a cell.</param>
    public static void Write(string folder, int size)
    {
        File.WriteAllText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(new
        {
            architectures = Architectures,
            model_type = "llava",
            image_token_index = SceneTokenizer.ImageId,
            eos_token_id = SceneTokenizer.EndId,
            vision_feature_layer = -1,
            vision_config = new { model_type = "clip_vision_model", hidden_size = 64, intermediate_size = 128, num_hidden_layers = 2, num_attention_heads = 4, image_size = size, patch_size = size / 3 },
            text_config = new { model_type = "llama", vocab_size = SceneTokenizer.Count, hidden_size = 96, intermediate_size = 192, num_hidden_layers = 4, num_attention_heads = 4, max_position_embeddings = 512 },
        }, SceneTokenizer.Plain));
        File.WriteAllText(Path.Combine(folder, "preprocessor_config.json"), JsonSerializer.Serialize(new { size = new { shortest_edge = size }, crop_size = new { height = size, width = size } }));
        string At(string name) => JsonSerializer.Serialize(Path.GetFullPath(Path.Combine(folder, name)), SceneTokenizer.Plain); // YAML reads JSON's strings
        File.WriteAllText(Path.Combine(folder, "recipe.yaml"), $$"""
            # RoVRM on the world of scenes: xds-train rovrm --config recipe.yaml
            model_name_or_path: {{At(".")}}
            from_scratch: true
            output_dir: {{At("rovrm")}}
            learning_rate: 1e-3
            per_device_train_batch_size: 32
            max_length: 256
            logging_steps: 10
            selection: {method: ot, lora_r: 8, lora_alpha: 16, warmup_candidates: 200, warmup_targets: 200, targets: 200, feature_dimension: 512}
            textual: {train_data: {{At("textual.train.jsonl")}}}
            caption: {train_data: {{At("caption.train.jsonl")}}}
            visual: {train_data: {{At("visual.train.jsonl")}}, test_data: ["pairs={{At("visual.test.jsonl").Trim('"')}}", "best-of-n={{At("samples.jsonl").Trim('"')}}"]}

            """.ReplaceLineEndings("\n"));
    }
}
