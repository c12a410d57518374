using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>DeepSeek-V3 and its kin: latent attention, sigmoid routing with correction bias and groups, shared experts, first layers dense.</summary>
public sealed class DeepSeekV3 : Family
{
    /// <inheritdoc/>
    public override string Name => "deepseek_v3";

    /// <inheritdoc/>
    public override string Architecture => "DeepseekV3ForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        RefuseUnserved(reader);
        int positions = reader.Integer("max_position_embeddings", 1, Limits.Positions);
        int heads = reader.Integer("num_attention_heads", 1, Limits.Heads);
        int layers = reader.Integer("num_hidden_layers", 1, Limits.Layers);
        LatentConfig latent = ReadLatent(reader);
        var rope = RopeConfig.Read(reader, 10_000, positions);
        return new ModelConfig
        {
            Family = Name,
            VocabularySize = reader.Integer("vocab_size", 1, Limits.Vocabulary),
            HiddenSize = reader.Integer("hidden_size", 1, Limits.Columns),
            FeedForwardSize = reader.Integer("intermediate_size", 1, Limits.Columns),
            Layers = layers,
            Heads = heads,
            KeyValueHeads = heads,
            HeadWidth = latent.Plain + latent.Rope,
            MaxPositions = positions,
            Epsilon = (float)reader.Real("rms_norm_eps", 0, 1e-6),
            Rope = rope,
            Latent = latent,
            Experts = ReadExperts(reader, layers),
            AttentionBias = reader.Flag("attention_bias", false),
            TiedEmbeddings = Tied(reader),
            DraftLayers = reader.Integer("num_nextn_predict_layers", 0, Limits.Layers, 0),
        };
    }

    /// <inheritdoc/>
    public override int RopeWidth(ModelConfig config) => config.Latent!.Rope;

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope)
    {
        string prefix = $"model.layers.{layer}.self_attn";
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
            // A whole-query projection never has a bias in this family, a compressed one has.
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
            config.AttentionBias ? loader.Vector(new WeightPart($"{prefix}.o_proj.bias", config.HiddenSize)) : default,
            config.Epsilon, rope);
    }

    /// <inheritdoc/>
    public override FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader)
    {
        string prefix = $"model.layers.{layer}.mlp";
        ExpertConfig experts = config.Experts!;
        if (layer < experts.DenseLayers)
            return LoadDense(prefix, config.FeedForwardSize, config, loader);
        var gateUp = new List<WeightPart>(2 * experts.Count);
        var down = new List<WeightPart>(experts.Count);
        for (int expert = 0; expert < experts.Count; expert++)
        {
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.gate_proj.weight", experts.Width));
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.up_proj.weight", experts.Width));
            down.Add(new WeightPart($"{prefix}.experts.{expert}.down_proj.weight", config.HiddenSize));
        }
        return new MixtureOfExperts(
            new Router(
                loader.Single(config.HiddenSize, new WeightPart($"{prefix}.gate.weight", experts.Count)),
                loader.Vector(new WeightPart($"{prefix}.gate.e_score_correction_bias", experts.Count)), experts.Rule),
            new Experts(loader.Grouped(experts.Count, config.HiddenSize, gateUp), loader.Grouped(experts.Count, experts.Width, down)),
            experts.Shared == 0 ? null : LoadDense($"{prefix}.shared_experts", experts.Shared * experts.Width, config, loader));
    }

    private static LatentConfig ReadLatent(ConfigReader reader)
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

    private static ExpertConfig ReadExperts(ConfigReader reader, int layers)
    {
        if (reader.Text("scoring_func") is { } scoring and not "sigmoid")
            throw reader.Wrong("scoring_func", "only 'sigmoid' is supported");
        if (reader.Text("topk_method") is { } method and not "noaux_tc")
            throw reader.Wrong("topk_method", "only 'noaux_tc' is supported");
        if (reader.Integer("moe_layer_freq", 0, fallback: 1) != 1)
            throw reader.Wrong("moe_layer_freq", "only 1 is supported");
        int count = reader.Integer("n_routed_experts", 1, Limits.Experts);
        int groups = reader.Integer("n_group", 1, count, 1);
        int topGroups = reader.Integer("topk_group", 1, groups, groups);
        int topK = reader.Integer("num_experts_per_tok", 1, count);
        if (count % groups != 0)
            throw reader.Inconsistent($"n_routed_experts ({count}) must be a multiple of n_group ({groups})");
        if (groups > 1 && count / groups < 2)
            throw reader.Inconsistent($"a group's score takes two experts, but n_routed_experts ({count}) in n_group ({groups}) groups leave fewer");
        if (topK > count / groups * topGroups)
            throw reader.Inconsistent($"num_experts_per_tok ({topK}) is more than the {count / groups * topGroups} experts of topk_group ({topGroups}) groups");
        int width = reader.Integer("moe_intermediate_size", 1, Limits.Columns);
        int shared = reader.Integer("n_shared_experts", 0, Limits.Experts, 0);
        if (2L * Math.Max(count, shared) * width > int.MaxValue)
            throw reader.Inconsistent($"{count} experts and {shared} shared ones of moe_intermediate_size {width} are more than can be served");
        return new ExpertConfig(
            count,
            width,
            shared,
            reader.Integer("first_k_dense_replace", 0, layers, 0),
            new RoutingRule(
                topK, Sigmoid: true, groups, topGroups, reader.Flag("norm_topk_prob", true),
                (float)reader.Real("routed_scaling_factor", 0, 1)));
    }
}
