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

    /// <summary>Router, experts (here or elsewhere) and shared experts.</summary>
    public static MixtureOfExperts Mixture(string prefix, int layer, ModelConfig config, ExpertConfig experts, WeightLoader loader)
    {
        (int count, int hidden) = (experts.Count, config.HiddenSize);
        ExpertBank? elsewhere = loader.Elsewhere?.Invoke(layer);
        return new MixtureOfExperts(
            new Router(
                loader.Single(hidden, new WeightPart($"{prefix}.gate.weight", count)),
                experts.Corrected ? loader.Vector(new WeightPart($"{prefix}.gate.e_score_correction_bias", count)) : default, experts.Rule),
            elsewhere ?? Experts(prefix, config, experts, loader, [.. Enumerable.Range(0, count)]),
            experts.Shared == 0 || elsewhere is { HasShared: true } ? null : SharedExperts(prefix, config, experts, loader));
    }

    /// <summary>The shared experts of a layer, of which there are some, as one unit.</summary>
    public static DenseFeedForward SharedExperts(string prefix, ModelConfig config, ExpertConfig experts, WeightLoader loader) =>
        Dense($"{prefix}.shared_experts", experts.Shared * experts.Width, config, loader);

    /// <summary>Some routed experts of a layer, from one tensor for each or from all in one.</summary>
    /// <param name="prefix">The unit's name.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="experts">The experts' shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    /// <param name="held">The expert of each place.</param>
    public static Experts Experts(string prefix, ModelConfig config, ExpertConfig experts, WeightLoader loader, ReadOnlySpan<int> held)
    {
        (int count, int width, int hidden) = (experts.Count, experts.Width, config.HiddenSize);
        bool together = !loader.Has($"{prefix}.experts.0.gate_proj.weight") && loader.Has($"{prefix}.experts.gate_up_proj");
        List<WeightPart> gateUp = [], down = [];
        foreach (int expert in held)
        {
            if (together)
            {
                gateUp.Add(new WeightPart($"{prefix}.experts.gate_up_proj", 2 * width, [count, 2 * width, hidden], expert * 2 * width));
                down.Add(new WeightPart($"{prefix}.experts.down_proj", hidden, [count, hidden, width], expert * hidden));
                continue;
            }
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.gate_proj.weight", width));
            gateUp.Add(new WeightPart($"{prefix}.experts.{expert}.up_proj.weight", width));
            down.Add(new WeightPart($"{prefix}.experts.{expert}.down_proj.weight", hidden));
        }
        return new Experts(loader.Grouped(held.Length, hidden, gateUp), loader.Grouped(held.Length, width, down));
    }
}
