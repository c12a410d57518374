using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>Loads the units that families share, under Llama's names.</summary>
internal static class Units
{
    /// <summary>Attention with grouped queries.</summary>
    public static GroupedQueryAttention Grouped(string prefix, int layer, ModelConfig config, WeightLoader loader, Tensor rope)
    {
        int queries = config.Heads * config.HeadWidth;
        int keys = config.KeyValueHeads * config.HeadWidth;
        return new GroupedQueryAttention(
            config.Heads, config.KeyValueHeads, config.HeadWidth,
            loader.Linear(config.HiddenSize, Projections("weight")),
            config.AttentionBias ? loader.Vector(Projections("bias")) : default,
            loader.Linear(queries, new WeightPart($"{prefix}.o_proj.weight", config.HiddenSize)),
            config.OutputBias ? loader.Vector(new WeightPart($"{prefix}.o_proj.bias", config.HiddenSize)) : default,
            config.HeadNorms ? loader.Vector(new WeightPart($"{prefix}.q_norm.weight", config.HeadWidth)) : default,
            config.HeadNorms ? loader.Vector(new WeightPart($"{prefix}.k_norm.weight", config.HeadWidth)) : default,
            config.Epsilon, rope, layer < config.Windows.Count ? config.Windows[layer] : 0);

        WeightPart[] Projections(string kind) =>
            [new($"{prefix}.q_proj.{kind}", queries), new($"{prefix}.k_proj.{kind}", keys), new($"{prefix}.v_proj.{kind}", keys)];
    }

    /// <summary>Gate, up and down of a dense unit.</summary>
    public static DenseFeedForward Dense(string prefix, int width, ModelConfig config, WeightLoader loader) => new(
        loader.Linear(config.HiddenSize, new($"{prefix}.gate_proj.weight", width), new($"{prefix}.up_proj.weight", width)),
        loader.Linear(width, new WeightPart($"{prefix}.down_proj.weight", config.HiddenSize)),
        config.FeedForwardBias ? loader.Vector(new($"{prefix}.gate_proj.bias", width), new($"{prefix}.up_proj.bias", width)) : default,
        config.FeedForwardBias ? loader.Vector(new WeightPart($"{prefix}.down_proj.bias", config.HiddenSize)) : default);

    /// <summary>Router, experts (one tensor for each, or all in one) and shared experts.</summary>
    public static MixtureOfExperts Mixture(string prefix, ModelConfig config, ExpertConfig experts, WeightLoader loader)
    {
        (int count, int width, int hidden) = (experts.Count, experts.Width, config.HiddenSize);
        var gateUp = new List<WeightPart>(2 * count);
        var down = new List<WeightPart>(count);
        if (!loader.Has($"{prefix}.experts.0.gate_proj.weight") && loader.Has($"{prefix}.experts.gate_up_proj"))
        {
            gateUp.Add(new WeightPart($"{prefix}.experts.gate_up_proj", count * 2 * width, [count, 2 * width, hidden]));
            down.Add(new WeightPart($"{prefix}.experts.down_proj", count * hidden, [count, hidden, width]));
        }
        for (int expert = 0; expert < count && down.Count <= expert; expert++)
        {
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.gate_proj.weight", width));
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.up_proj.weight", width));
            down.Add(new WeightPart($"{prefix}.experts.{expert}.down_proj.weight", hidden));
        }
        return new MixtureOfExperts(
            new Router(
                loader.Single(hidden, new WeightPart($"{prefix}.gate.weight", count)),
                experts.Corrected ? loader.Vector(new WeightPart($"{prefix}.gate.e_score_correction_bias", count)) : default, experts.Rule),
            new Experts(loader.Grouped(count, hidden, gateUp), loader.Grouped(count, width, down)),
            experts.Shared == 0 ? null : Dense($"{prefix}.shared_experts", experts.Shared * width, config, loader));
    }
}
