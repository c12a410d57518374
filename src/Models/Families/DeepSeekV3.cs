using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>DeepSeek-V3, R1 and Kimi K2: latent attention, sigmoid routing with correction bias and groups, shared experts, first layers dense, draft modules.</summary>
public sealed class DeepSeekV3 : Family
{
    /// <inheritdoc/>
    public override string Name => "deepseek_v3";

    /// <inheritdoc/>
    public override string Architecture => "DeepseekV3ForCausalLM";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Aliases { get; } = ["kimi_k2"];

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        if (reader.Text("scoring_func") is { } scoring and not "sigmoid")
            throw reader.Wrong("scoring_func", "only 'sigmoid' is supported");
        if (reader.Text("topk_method") is { } method and not "noaux_tc")
            throw reader.Wrong("topk_method", "only 'noaux_tc' is supported");
        ModelConfig config = LatentKeys.Decoder(reader, Name);
        int groups = reader.Integer("n_group", 1, Limits.Experts, 1);
        return config with
        {
            Experts = Keys.Experts(
                reader, "moe_intermediate_size", LatentKeys.Dense(reader, config.Layers), sigmoid: true, groups,
                reader.Integer("topk_group", 1, groups, groups), normalize: reader.Flag("norm_topk_prob", true)),
        };
    }

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope) =>
        LatentKeys.Attention($"model.layers.{layer}.self_attn", config, loader, rope);
}
