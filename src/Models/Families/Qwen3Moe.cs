namespace XDeepServe.Models.Families;

/// <summary>Qwen3 with experts: softmax routing; some layers may be dense.</summary>
public sealed class Qwen3Moe : Family
{
    /// <inheritdoc/>
    public override string Name => "qwen3_moe";

    /// <inheritdoc/>
    public override string Architecture => "Qwen3MoeForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24, "num_attention_heads": 32,
              "num_key_value_heads": 4, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "sliding_window": 4096,
              "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_experts": 128
            }
            """);
        ModelConfig config = Keys.Decoder(reader, Name);
        bool bias = reader.Flag("attention_bias", false);
        int every = reader.Integer("decoder_sparse_step", 1, fallback: 1);
        HashSet<int> dense = [.. reader.Integers("mlp_only_layers"), .. Enumerable.Range(0, config.Layers).Where(layer => (layer + 1) % every != 0)];
        return config with
        {
            AttentionBias = bias,
            OutputBias = bias,
            HeadNorms = true,
            Windows = reader.Flag("use_sliding_window", false) ? Keys.Windows(reader, config.Layers, _ => true) : [],
            Experts = Keys.Experts(reader, "moe_intermediate_size", dense, sigmoid: false, normalize: reader.Flag("norm_topk_prob", false)),
        };
    }
}
