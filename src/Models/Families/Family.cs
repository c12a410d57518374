using XDeepServe.Kernels;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Families;

/// <summary>An architecture: how its configuration and its weight names map onto layers.</summary>
public abstract class Family
{
    /// <summary>All families that can be served.</summary>
    public static IReadOnlyList<Family> All { get; } = [new DeepSeekV3(), new Qwen3()];

    /// <summary><c>model_type</c> of config.json.</summary>
    public abstract string Name { get; }

    /// <summary>Entry of <c>architectures</c> in config.json.</summary>
    public abstract string Architecture { get; }

    /// <summary>The family that a configuration asks for.</summary>
    /// <exception cref="ModelLoadException">None of the supported ones.</exception>
    public static Family For(ConfigReader reader)
    {
        IReadOnlyList<string> architectures = reader.Texts("architectures");
        string? type = reader.Text("model_type");
        foreach (Family family in All)
        {
            if (architectures.Count > 0 ? architectures.Contains(family.Architecture) : type == family.Name)
                return family;
        }
        string supported = string.Join(", ", All.Select(family => $"{family.Architecture} (model_type {family.Name})"));
        if (architectures.Count == 0 && type is null)
            throw reader.Inconsistent($"neither 'architectures' nor 'model_type' is there, so the architecture is unknown. Supported: {supported}");
        string asked = architectures.Count > 0 ? string.Join(", ", architectures) : type!;
        throw reader.Inconsistent($"the architecture {asked} is not supported. Supported: {supported}");
    }

    /// <summary>Reads and checks the configuration.</summary>
    /// <exception cref="ModelLoadException">Keys missing, wrong or inconsistent.</exception>
    public abstract ModelConfig Read(ConfigReader reader);

    /// <summary>Loads the attention unit of a layer.</summary>
    /// <param name="layer">From 0.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    /// <param name="rope">F32 <c>[positions, rotated columns]</c>.</param>
    public abstract AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope);

    /// <summary>Loads the feed-forward unit of a layer.</summary>
    public abstract FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader);

    /// <summary>Columns that are rotated.</summary>
    public abstract int RopeWidth(ModelConfig config);

    /// <summary>Complains about features that no family here serves.</summary>
    protected static void RefuseUnserved(ConfigReader reader)
    {
        if (reader.Text("hidden_act") is { } activation and not "silu")
            throw reader.Wrong("hidden_act", $"only 'silu' is supported");
        if (reader.Has("quantization_config"))
            throw reader.Wrong("quantization_config", "only F32, F16, BF16 and Q8_0 weights are supported: take a bfloat16 version of the model");
    }

    /// <summary>Tied embeddings as the config says it; null if it does not.</summary>
    protected static bool? Tied(ConfigReader reader) =>
        reader.Has("tie_word_embeddings") ? reader.Flag("tie_word_embeddings", false) : null;

    /// <summary>Loads gate, up and down of a dense unit.</summary>
    protected static DenseFeedForward LoadDense(string prefix, int width, ModelConfig config, WeightLoader loader) => new(
        loader.Linear(config.HiddenSize, new($"{prefix}.gate_proj.weight", width), new($"{prefix}.up_proj.weight", width)),
        loader.Linear(width, new WeightPart($"{prefix}.down_proj.weight", config.HiddenSize)));
}
