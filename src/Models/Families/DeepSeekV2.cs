using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>DeepSeek-V2, Lite and full: latent attention, softmax routing (a group's score is its best expert's), shared experts.</summary>
public sealed class DeepSeekV2 : Family
{
    /// <inheritdoc/>
    public override string Name => "deepseek_v2";

    /// <inheritdoc/>
    public override string Architecture => "DeepseekV2ForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
              "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
              "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1407
            }
            """);
        if (reader.Text("scoring_func") is { } scoring and not "softmax")
            throw reader.Wrong("scoring_func", "only 'softmax' is supported in this family");
        // The first published code spelled the plain method "gready".
        bool grouped = reader.Text("topk_method") switch
        {
            null or "greedy" or "gready" => false,
            "group_limited_greedy" => true,
            _ => throw reader.Wrong("topk_method", "only 'greedy' and 'group_limited_greedy' are supported in this family"),
        };
        ModelConfig config = LatentKeys.Decoder(reader, Name);
        int groups = grouped ? reader.Integer("n_group", 1, Limits.Experts, 1) : 1;
        return config with
        {
            FeedForwardBias = reader.Flag("mlp_bias", false),
            Experts = Keys.Experts(
                reader, "moe_intermediate_size", LatentKeys.Dense(reader, config.Layers), sigmoid: false, groups,
                grouped ? reader.Integer("topk_group", 1, groups, groups) : 1, groupTerms: 1, normalize: reader.Flag("norm_topk_prob", false)),
        };
    }

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope) =>
        LatentKeys.Attention($"model.layers.{layer}.self_attn", config, loader, rope);
}
