using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>Writes a model's shape and tokenizer as a GGUF file's metadata.</summary>
/// <param name="writer">Collects the entries.</param>
/// <param name="architecture">How they are named.</param>
/// <param name="shape">The model's shape.</param>
/// <param name="drafts">Layers for multi-token prediction that the file will hold.</param>
internal sealed class GgufMetadata(GgufWriter writer, GgufArchitecture architecture, ModelConfig shape, int drafts)
{
    private string Prefix => architecture.Name;

    /// <summary>Writes what describes the network.</summary>
    /// <param name="options">Name and type.</param>
    /// <param name="config">The config.json, for what <see cref="ModelConfig"/> does not keep.</param>
    public void WriteShape(ConversionOptions options, JsonObject config)
    {
        writer.Add("general.architecture", Prefix);
        writer.Add("general.name", options.Name);
        writer.Add("general.file_type", FileType(options.Type));
        writer.Add("general.quantization_version", 2u);
        writer.Add($"{Prefix}.block_count", (uint)(shape.Layers + drafts));
        foreach ((string gguf, string key) in architecture.Keys)
        {
            switch (Value(key))
            {
                case int whole: writer.Add($"{Prefix}.{gguf}", (uint)whole); break;
                case float real: writer.Add($"{Prefix}.{gguf}", real); break;
                case bool flag: writer.Add($"{Prefix}.{gguf}", flag); break;
            }
        }
        if (shape.Latent is { } latent)
        {
            // llama.cpp runs latent attention as attention with a single, wide key head.
            writer.Add($"{Prefix}.attention.head_count_kv", 1u);
            writer.Add($"{Prefix}.attention.key_length", (uint)(latent.Rank + latent.Rope));
            writer.Add($"{Prefix}.attention.value_length", (uint)latent.Rank);
            writer.Add($"{Prefix}.attention.key_length_mla", (uint)(latent.Plain + latent.Rope));
            writer.Add($"{Prefix}.attention.value_length_mla", (uint)latent.Value);
        }
        else if (shape.RotatedColumns != 0)
        {
            writer.Add($"{Prefix}.rope.dimension_count", (uint)(shape.RotatedColumns ?? shape.HeadWidth));
        }
        if (shape.Experts is { } experts && Prefix is "deepseek2" or "glm4moe")
            writer.Add($"{Prefix}.expert_gating_func", shape.Experts!.Rule.Sigmoid ? 2u : 1u);
        if (Prefix == "llama" && shape.Windows is [> 0, ..])
            writer.Add($"{Prefix}.{GgufArchitecture.WindowKey}", (uint)shape.Windows[0]);
        WriteRope(config);
    }

    /// <summary>Writes the tokenizer; without one the file works on ids only.</summary>
    public void WriteTokenizer(Tokenizer? tokenizer)
    {
        if (tokenizer is null)
        {
            writer.Add("tokenizer.ggml.model", "no_vocab"); // llama.cpp's word for "ids only"
            return;
        }
        GgufTokenizer tables = tokenizer.ToGguf();
        writer.Add("tokenizer.ggml.model", tables.Kind);
        writer.Add("tokenizer.ggml.pre", tables.Kind == GgufTokenizer.ByteLevel ? tables.Pre : "default");
        writer.Add("tokenizer.ggml.tokens", tables.Tokens);
        writer.Add("tokenizer.ggml.token_type", tables.Types);
        if (tables.Kind == GgufTokenizer.ByteLevel)
        {
            writer.Add("tokenizer.ggml.merges", tables.Merges);
        }
        else
        {
            writer.Add("tokenizer.ggml.scores", tables.Scores);
            writer.Add("tokenizer.ggml.add_space_prefix", tables.AddSpace);
        }
        if (tables.BosId is { } bos)
            writer.Add("tokenizer.ggml.bos_token_id", (uint)bos);
        if (tables.EosId is { } eos)
            writer.Add("tokenizer.ggml.eos_token_id", (uint)eos);
        writer.Add("tokenizer.ggml.add_bos_token", tables.AddBos);
        if (tables.ChatTemplate is { } template)
            writer.Add("tokenizer.chat_template", template);
    }

    /// <summary>The factor of each wave of a stretched rotation: plain frequency / stretched frequency.</summary>
    public static float[] WaveFactors(RopeConfig rope, int width)
    {
        float[] plain = RopeTable.Frequencies(new RopeConfig(rope.Theta), width), stretched = RopeTable.Frequencies(rope, width);
        return [.. plain.Zip(stretched, (left, right) => left / right)];
    }

    private void WriteRope(JsonObject config)
    {
        if (shape.Rope.Llama3 is not null)
        {
            float[] factors = WaveFactors(shape.Rope, shape.RotatedColumns ?? shape.HeadWidth);
            writer.Add("rope_freqs.weight", [factors.Length], ElementType.F32, stream => stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(factors)));
        }
        if (shape.Rope.Stretch != 1)
        {
            writer.Add($"{Prefix}.rope.scaling.type", "linear");
            writer.Add($"{Prefix}.rope.scaling.factor", (float)shape.Rope.Stretch);
        }
        if (shape.Rope.Yarn is not { } yarn)
            return;
        writer.Add($"{Prefix}.rope.scaling.type", "yarn");
        writer.Add($"{Prefix}.rope.scaling.factor", (float)yarn.Factor);
        writer.Add($"{Prefix}.rope.scaling.original_context_length", (uint)yarn.OriginalPositions);
        JsonNode? settings = config["rope_parameters"] ?? config["rope_scaling"];
        if (settings?["mscale_all_dim"] is JsonValue value && value.TryGetValue(out double scale))
            writer.Add($"{Prefix}.rope.scaling.yarn_log_multiplier", (float)(scale / 10));
    }

    private object? Value(string key) => key switch
    {
        "vocab_size" => shape.VocabularySize,
        "max_position_embeddings" or "n_positions" => shape.MaxPositions,
        "hidden_size" or "n_embd" => shape.HiddenSize,
        "intermediate_size" or "n_inner" => shape.FeedForwardSize,
        "num_attention_heads" or "n_head" => shape.Heads,
        "num_key_value_heads" => shape.KeyValueHeads,
        "head_dim" => shape.HeadWidth,
        "rms_norm_eps" or "layer_norm_epsilon" => shape.Epsilon,
        "rope_theta" => (float)shape.Rope.Theta,
        "num_nextn_predict_layers" => drafts == 0 ? null : drafts,
        "q_lora_rank" => shape.Latent?.QueryRank,
        "kv_lora_rank" => shape.Latent?.Rank,
        "qk_rope_head_dim" => shape.Latent?.Rope,
        "moe_intermediate_size" => shape.Experts?.Width,
        "n_routed_experts" => shape.Experts?.Count,
        "num_experts_per_tok" => shape.Experts?.Rule.TopK,
        "n_shared_experts" => shape.Experts?.Shared,
        "first_k_dense_replace" => shape.Experts?.DenseLayers.Count,
        "routed_scaling_factor" => shape.Experts?.Rule.Scale,
        "norm_topk_prob" => shape.Experts?.Rule.Normalize,
        "n_group" => shape.Experts?.Rule.Groups,
        "topk_group" => shape.Experts?.Rule.TopGroups,
        _ => throw new ArgumentOutOfRangeException(nameof(key), key, "No value is known for this key."),
    };

    /// <summary>llama.cpp's number for "mostly of this type".</summary>
    private static uint FileType(ElementType type) => type switch
    {
        ElementType.F32 => 0,
        ElementType.F16 => 1,
        ElementType.Q4_0 => 2,
        ElementType.Q8_0 => 7,
        ElementType.Q5_0 => 8,
        ElementType.Q4_K => 14,
        _ => 32,
    };
}
