using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>What DeepSeek's families share: keys and weights of latent attention.</summary>
internal static class LatentKeys
{
    private const float Epsilon = 1e-6f; // of the norms within the attention unit: the published code does not take the config's

    /// <summary>The shape of a decoder with latent attention, without its experts.</summary>
    public static ModelConfig Decoder(ConfigReader reader, string family)
    {
        LatentConfig latent = Latent(reader);
        // head_dim, where it is there, repeats the rotated columns.
        ModelConfig config = Keys.Decoder(reader, family, headWidth: latent.Rope);
        bool bias = reader.Flag("attention_bias", false);
        return config with
        {
            Latent = latent,
            KeyValueHeads = config.Heads,
            HeadWidth = latent.Plain + latent.Rope,
            RotatedColumns = latent.Rope,
            AttentionBias = bias,
            OutputBias = bias,
        };
    }

    /// <summary>Layers without experts.</summary>
    public static IReadOnlySet<int> Dense(ConfigReader reader, int layers)
    {
        if (reader.Integer("moe_layer_freq", 0, fallback: 1) != 1)
            throw reader.Wrong("moe_layer_freq", "only 1 is supported");
        return Keys.FirstDense(reader, layers);
    }

    /// <summary>Loads the attention unit of a layer.</summary>
    public static LatentAttention Attention(string prefix, ModelConfig config, WeightLoader loader, Tensor rope)
    {
        LatentConfig latent = config.Latent!;
        int queries = config.Heads * (latent.Plain + latent.Rope);
        double scale = (config.Rope.Yarn?.ScoreFactor ?? 1) / Math.Sqrt(latent.Plain + latent.Rope);
        var shape = new LatentShape(config.Heads, latent.Plain, latent.Rope, latent.Value, latent.Rank, (float)scale);
        string first = latent.QueryRank is null ? "q_proj" : "q_a_proj";
        int firstRows = latent.QueryRank ?? queries;
        int latentRows = latent.Rank + latent.Rope;

        Weight down = loader.Linear(
            config.HiddenSize, new($"{prefix}.{first}.weight", firstRows), new($"{prefix}.kv_a_proj_with_mqa.weight", latentRows));
        Tensor downBias = default;
        if (config.AttentionBias)
        {
            // A whole-query projection never has a bias in these families, a compressed one has.
            downBias = latent.QueryRank is null
                ? loader.Padded(firstRows, new WeightPart($"{prefix}.kv_a_proj_with_mqa.bias", latentRows))
                : loader.Vector(new($"{prefix}.{first}.bias", firstRows), new($"{prefix}.kv_a_proj_with_mqa.bias", latentRows));
        }
        return new LatentAttention(
            shape, latent.QueryRank ?? 0, latent.Interleaved, down, downBias,
            latent.QueryRank is { } rank ? loader.Vector(new WeightPart($"{prefix}.q_a_layernorm.weight", rank)) : default,
            latent.QueryRank is { } columns ? loader.Linear(columns, new WeightPart($"{prefix}.q_b_proj.weight", queries)) : null,
            loader.Vector(new WeightPart($"{prefix}.kv_a_layernorm.weight", latent.Rank)),
            loader.Unquantized(latent.Rank, new WeightPart($"{prefix}.kv_b_proj.weight", config.Heads * (latent.Plain + latent.Value)), plain: true),
            loader.Linear(config.Heads * latent.Value, new WeightPart($"{prefix}.o_proj.weight", config.HiddenSize)),
            config.OutputBias ? loader.Vector(new WeightPart($"{prefix}.o_proj.bias", config.HiddenSize)) : default,
            Epsilon, rope);
    }

    private static LatentConfig Latent(ConfigReader reader)
    {
        int rope = reader.Integer("qk_rope_head_dim", 2, Limits.HeadWidth);
        if (rope % 2 != 0)
            throw reader.Wrong("qk_rope_head_dim", "must be even");
        return new LatentConfig(
            reader.Has("q_lora_rank") ? reader.Integer("q_lora_rank", 1, Limits.Columns) : null,
            reader.Integer("kv_lora_rank", 1, Limits.Columns),
            reader.Integer("qk_nope_head_dim", 1, Limits.HeadWidth),
            rope,
            reader.Integer("v_head_dim", 1, Limits.HeadWidth),
            reader.Flag("rope_interleave", true));
    }
}
