using XDeepServe.Kernels;
using XDeepServe.Models.Layers;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Families;

/// <summary>
/// An architecture: how its configuration and its weight names map onto layers. What is not overridden is as in Llama: grouped
/// queries, gated feed-forward units or experts, root-mean-square norms, Llama's names.
/// </summary>
public abstract class Family
{
    /// <summary>All families that can be served.</summary>
    public static IReadOnlyList<Family> All { get; } =
    [
        new DeepSeekV2(), new DeepSeekV3(), new Glm4Moe(), new Gpt2(), new Llama(), new Llava(), new Mistral(), new Mixtral(), new Qwen2(), new Qwen3(),
        new Qwen3Moe(),
    ];

    /// <summary><c>model_type</c> of config.json.</summary>
    public abstract string Name { get; }

    /// <summary>Entry of <c>architectures</c> in config.json.</summary>
    public abstract string Architecture { get; }

    /// <summary>Other values of <c>model_type</c> for the same architecture.</summary>
    public virtual IReadOnlyList<string> Aliases => [];

    /// <summary>The family that a configuration asks for.</summary>
    /// <exception cref="ModelLoadException">None of the supported ones.</exception>
    public static Family For(ConfigReader reader)
    {
        IReadOnlyList<string> architectures = reader.Texts("architectures");
        string? type = reader.Text("model_type");
        foreach (Family family in All)
        {
            if (architectures.Count > 0 ? architectures.Contains(family.Architecture) || architectures.Contains(family.Scoring) : type == family.Name || family.Aliases.Contains(type))
                return family;
        }
        string supported = string.Join(", ", All.Select(family => $"{family.Architecture} (model_type {family.Name})"));
        if (architectures.Count == 0 && type is null)
            throw reader.Inconsistent($"neither 'architectures' nor 'model_type' is there, so the architecture is unknown. Supported: {supported}");
        string asked = architectures.Count > 0 ? string.Join(", ", architectures) : type!;
        throw reader.Inconsistent($"the architecture {asked} is not supported. Supported: {supported}");
    }

    /// <summary>Whether an architecture has a score head in place of an output matrix.</summary>
    public static bool Scores(string architecture) => architecture.EndsWith("ForSequenceClassification", StringComparison.Ordinal);

    /// <summary>The architecture with a score head in place of the output matrix: <c>Qwen3ForSequenceClassification</c>.</summary>
    public string Scoring => $"{Stem}ForSequenceClassification";

    /// <summary>What the names of its architectures begin with.</summary>
    protected virtual string Stem => Architecture[..Architecture.IndexOf("For", StringComparison.Ordinal)];

    /// <summary>The family of a configuration that has been read.</summary>
    public static Family Of(string name) => All.Single(family => family.Name == name);

    /// <summary>Reads and checks the configuration.</summary>
    /// <exception cref="ModelLoadException">Keys missing, wrong or inconsistent.</exception>
    public abstract ModelConfig Read(ConfigReader reader);

    /// <summary>Other names under which published files hold a tensor, likeliest first; none if they name it as it is asked for.</summary>
    /// <param name="name">Name as Llama's files spell it: <c>model.layers.0.self_attn.o_proj.weight</c>.</param>
    public virtual IEnumerable<Spelling> Spellings(string name) => [];

    /// <summary>Columns that are rotated; 0 for none.</summary>
    public virtual int RopeWidth(ModelConfig config) => config.RotatedColumns ?? config.HeadWidth;

    /// <summary>Loads the attention unit of a layer.</summary>
    /// <param name="layer">From 0.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    /// <param name="rope">F32 <c>[positions, rotated columns]</c>; empty if none are.</param>
    public virtual AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope) =>
        Units.Grouped($"model.layers.{layer}.self_attn", layer, config, loader, rope);

    /// <summary>Loads the feed-forward unit of a layer.</summary>
    public virtual FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader)
    {
        string prefix = FeedForwardName(layer);
        return config.Experts is { } experts && !experts.DenseLayers.Contains(layer)
            ? Units.Mixture(prefix, layer, config, experts, loader)
            : Units.Dense(prefix, config.FeedForwardSize, config, loader);
    }

    /// <summary>Loads some routed experts of a layer.</summary>
    /// <param name="layer">From 0; one with experts.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    /// <param name="held">The expert of each place.</param>
    public static Experts LoadExperts(int layer, ModelConfig config, WeightLoader loader, ReadOnlySpan<int> held) =>
        Units.Experts(FeedForwardName(layer), config, config.Experts!, loader, held);

    /// <summary>Loads a layer's shared experts, of which there are some.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    public static DenseFeedForward LoadSharedExperts(int layer, ModelConfig config, WeightLoader loader) =>
        Units.SharedExperts(FeedForwardName(layer), config, config.Experts!, loader);

    /// <summary>Loads a norm of the residual stream.</summary>
    /// <param name="name">Its tensors' name without <c>.weight</c>.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    public virtual Norm LoadNorm(string name, ModelConfig config, WeightLoader loader) =>
        new(loader.Vector(new WeightPart($"{name}.weight", config.HiddenSize)), config.Epsilon);

    /// <summary>Loads the table of learned positions <c>[positions, hidden]</c>; null if there is none.</summary>
    public virtual Weight? LoadPositions(ModelConfig config, WeightLoader loader) => null;

    /// <summary>Loads what turns images into rows; null if the model takes none.</summary>
    public virtual ImageEncoder? LoadImages(ModelConfig config, WeightLoader loader) => null;

    private static string FeedForwardName(int layer) => $"model.layers.{layer}.mlp";

    /// <summary>Loads a layer.</summary>
    public Layer LoadLayer(int layer, ModelConfig config, WeightLoader loader, Tensor rope) => new(
        LoadNorm($"model.layers.{layer}.input_layernorm", config, loader),
        LoadAttention(layer, config, loader, rope),
        LoadNorm($"model.layers.{layer}.post_attention_layernorm", config, loader),
        LoadFeedForward(layer, config, loader));

    /// <summary>Loads a module for multi-token prediction.</summary>
    /// <param name="index">From 0; it stands behind the last layer.</param>
    /// <param name="config">The model's shape.</param>
    /// <param name="loader">Owns what it loads.</param>
    /// <param name="rope">The model's table.</param>
    /// <param name="embedding">The model's token table, which it takes if the file holds none for it.</param>
    /// <param name="head">The model's output matrix, likewise.</param>
    /// <returns>Null if the file does not hold the module.</returns>
    public DraftModule? LoadDraft(int index, ModelConfig config, WeightLoader loader, Tensor rope, Weight embedding, Weight head)
    {
        int layer = config.Layers + index;
        string prefix = $"model.layers.{layer}";
        var tokens = new WeightPart($"{prefix}.embed_tokens.weight", config.VocabularySize);
        var output = new WeightPart($"{prefix}.shared_head.head.weight", config.VocabularySize);
        if (!loader.Has($"{prefix}.eh_proj.weight"))
            return null;
        return new DraftModule(
            loader.Has(tokens.Name) ? loader.Unquantized(config.HiddenSize, tokens, plain: false) : embedding,
            LoadNorm($"{prefix}.enorm", config, loader),
            LoadNorm($"{prefix}.hnorm", config, loader),
            loader.Linear(2 * config.HiddenSize, new WeightPart($"{prefix}.eh_proj.weight", config.HiddenSize)),
            LoadLayer(layer, config, loader, rope),
            LoadNorm($"{prefix}.shared_head.norm", config, loader),
            loader.Has(output.Name) ? loader.Linear(config.HiddenSize, output) : head);
    }
}
