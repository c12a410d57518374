namespace XDeepServe.Models.Families;

/// <summary>GLM-4.5 and its kin: grouped queries whose heads are rotated in part, DeepSeek-V3's routing, one draft module.</summary>
public sealed class Glm4Moe : Family
{
    /// <inheritdoc/>
    public override string Name => "glm4_moe";

    /// <inheritdoc/>
    public override string Architecture => "Glm4MoeForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 151552, "hidden_size": 4096, "intermediate_size": 10944, "num_hidden_layers": 46, "num_attention_heads": 96,
              "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5,
              "moe_intermediate_size": 1408, "num_experts_per_tok": 8, "n_routed_experts": 128, "n_shared_experts": 1,
              "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1
            }
            """);
        ModelConfig config = Keys.Decoder(reader, Name);
        double share = (reader.Section("rope_parameters") is { } rope && rope.Has("partial_rotary_factor") ? rope : reader).Real("partial_rotary_factor", 0, 1);
        int rotated = (int)(config.HeadWidth * share);
        if (share > 1 || rotated < 2 || rotated % 2 != 0)
            throw reader.Inconsistent($"partial_rotary_factor ({share}) must leave an even number of the {config.HeadWidth} columns of a head");
        int groups = reader.Integer("n_group", 1, Limits.Experts, 1);
        return config with
        {
            AttentionBias = reader.Flag("attention_bias", false),
            HeadNorms = reader.Flag("use_qk_norm", false),
            RotatedColumns = rotated,
            Experts = Keys.Experts(
                reader, "moe_intermediate_size", Keys.FirstDense(reader, config.Layers), sigmoid: true, groups,
                reader.Integer("topk_group", 1, groups, groups), normalize: reader.Flag("norm_topk_prob", true)),
        };
    }
}
