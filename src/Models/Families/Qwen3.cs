using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>Qwen3, dense: grouped-query attention with norms on queries and keys.</summary>
public sealed class Qwen3 : Family
{
    /// <inheritdoc/>
    public override string Name => "qwen3";

    /// <inheritdoc/>
    public override string Architecture => "Qwen3ForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        RefuseUnserved(reader);
        if (reader.Flag("use_sliding_window", false))
            throw reader.Wrong("use_sliding_window", "sliding windows are not supported");
        int positions = reader.Integer("max_position_embeddings", 1, Limits.Positions);
        int heads = reader.Integer("num_attention_heads", 1, Limits.Heads);
        var rope = RopeConfig.Read(reader, 10_000, positions);
        if (rope.Yarn is { } yarn)
            positions = (int)Math.Clamp(yarn.OriginalPositions * yarn.Factor, positions, Limits.Positions);
        var config = new ModelConfig
        {
            Family = Name,
            VocabularySize = reader.Integer("vocab_size", 1, Limits.Vocabulary),
            HiddenSize = reader.Integer("hidden_size", 1, Limits.Columns),
            FeedForwardSize = reader.Integer("intermediate_size", 1, Limits.Columns),
            Layers = reader.Integer("num_hidden_layers", 1, Limits.Layers),
            Heads = heads,
            KeyValueHeads = reader.Integer("num_key_value_heads", 1, heads, heads),
            HeadWidth = reader.Integer("head_dim", 2, Limits.HeadWidth, 128),
            MaxPositions = positions,
            Epsilon = (float)reader.Real("rms_norm_eps", 0, 1e-6),
            Rope = rope,
            AttentionBias = reader.Flag("attention_bias", false),
            TiedEmbeddings = Tied(reader),
        };
        if (heads % config.KeyValueHeads != 0)
            throw reader.Inconsistent($"num_attention_heads ({heads}) must be a multiple of num_key_value_heads ({config.KeyValueHeads})");
        if (config.HeadWidth % 2 != 0)
            throw reader.Wrong("head_dim", "must be even");
        return config;
    }

    /// <inheritdoc/>
    public override int RopeWidth(ModelConfig config) => config.HeadWidth;

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope)
    {
        string prefix = $"model.layers.{layer}.self_attn";
        int queries = config.Heads * config.HeadWidth;
        int keys = config.KeyValueHeads * config.HeadWidth;
        return new GroupedQueryAttention(
            config.Heads, config.KeyValueHeads, config.HeadWidth,
            loader.Linear(config.HiddenSize, Projections("weight")),
            config.AttentionBias ? loader.Vector(Projections("bias")) : default,
            loader.Linear(queries, new WeightPart($"{prefix}.o_proj.weight", config.HiddenSize)),
            config.AttentionBias ? loader.Vector(new WeightPart($"{prefix}.o_proj.bias", config.HiddenSize)) : default,
            loader.Vector(new WeightPart($"{prefix}.q_norm.weight", config.HeadWidth)),
            loader.Vector(new WeightPart($"{prefix}.k_norm.weight", config.HeadWidth)),
            config.Epsilon, rope);

        WeightPart[] Projections(string kind) =>
            [new($"{prefix}.q_proj.{kind}", queries), new($"{prefix}.k_proj.{kind}", keys), new($"{prefix}.v_proj.{kind}", keys)];
    }

    /// <inheritdoc/>
    public override FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader) =>
        LoadDense($"model.layers.{layer}.mlp", config.FeedForwardSize, config, loader);
}
