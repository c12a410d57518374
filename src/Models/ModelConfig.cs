using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Families;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models;

/// <summary>The shape of a network, read and checked from a Hugging Face <c>config.json</c>.</summary>
public sealed record ModelConfig
{
    /// <summary>Architecture family, as <c>model_type</c> names it: <c>deepseek_v3</c>, <c>qwen3</c>, …</summary>
    public required string Family { get; init; }

    /// <summary>Token ids run from 0 to this, exclusive.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Columns of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Inner columns of a dense feed-forward unit.</summary>
    public required int FeedForwardSize { get; init; }

    /// <summary>Layers, without those that only draft (multi-token prediction).</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key and value heads.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Columns of one query or key head.</summary>
    public required int HeadWidth { get; init; }

    /// <summary>Longest context, in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Added to the mean square in norms.</summary>
    public required float Epsilon { get; init; }

    /// <summary>Rotary position embedding.</summary>
    public required RopeConfig Rope { get; init; }

    /// <summary>Latent attention; null for grouped-query attention.</summary>
    public LatentConfig? Latent { get; init; }

    /// <summary>Mixture of experts; null if every layer is dense.</summary>
    public ExpertConfig? Experts { get; init; }

    /// <summary>Whether the projections to queries, keys and values (or to compressed ones) have biases.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether attention's output projection has a bias.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Whether dense feed-forward units have biases.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>Whether each query and key head is normed.</summary>
    public bool HeadNorms { get; init; }

    /// <summary>Columns of a head that are rotated; null for all.</summary>
    public int? RotatedColumns { get; init; }

    /// <summary>For each layer the positions that a row sees, 0 for all; empty if no layer has a window.</summary>
    public IReadOnlyList<int> Windows { get; init; } = [];

    /// <summary>Activation of feed-forward units without gates; null if units are gated.</summary>
    public GeluForm? Activation { get; init; }

    /// <summary>Image input; null if the model takes text alone.</summary>
    public ImageConfig? Images { get; init; }

    /// <summary>Whether the output matrix is the embedding table; null if the config does not say (then it is if the file holds no other).</summary>
    public bool? TiedEmbeddings { get; init; }

    /// <summary>Layers for multi-token prediction that the config announces behind the last layer; the file may lack them.</summary>
    public int DraftLayers { get; init; }

    /// <summary>Values of the score head of a <c>*ForSequenceClassification</c> model; 0 for a model that generates.</summary>
    public int Labels { get; init; }

    /// <summary>Their names, from <c>id2label</c>.</summary>
    public IReadOnlyList<string> LabelNames { get; init; } = [];

    /// <summary>Token that begins a text, if there is one.</summary>
    public int? BosId { get; init; }

    /// <summary>Tokens that end an answer: those of config.json and of generation_config.json.</summary>
    public IReadOnlyList<int> EosIds { get; init; } = [];

    /// <summary>Reads and checks a configuration.</summary>
    /// <param name="config">config.json.</param>
    /// <param name="generation">generation_config.json; null if there is none.</param>
    /// <exception cref="ModelLoadException">Unknown architecture; keys missing, wrong or inconsistent.</exception>
    public static ModelConfig Read(JsonObject config, JsonObject? generation = null)
    {
        var reader = new ConfigReader(config, "config.json");
        ModelConfig model = Families.Family.For(reader).Read(reader);
        int labels = LabelsOf(reader); // the head is the whole model's, not the text model's
        IReadOnlyList<string> names = labels == 0 ? [] : [.. Enumerable.Range(0, labels).Select(label => NameOf(reader, label))];
        if (reader.Section("text_config") is { } text && !reader.Has("eos_token_id"))
            reader = text;
        var extra = generation is null ? null : new ConfigReader(generation, "generation_config.json");
        IReadOnlyList<int> bos = reader.Integers("bos_token_id");
        int[] eos = [.. reader.Integers("eos_token_id").Concat(extra?.Integers("eos_token_id") ?? []).Distinct()];
        foreach (int id in eos)
        {
            if (id >= model.VocabularySize)
                throw reader.Inconsistent($"eos_token_id {id} is outside the vocabulary of {model.VocabularySize} tokens");
        }
        return model with { BosId = bos.Count > 0 ? bos[0] : null, EosIds = eos, Labels = labels, LabelNames = names };
    }

    private static string NameOf(ConfigReader reader, int label) =>
        reader.Object("id2label")?[$"{label}"] is JsonValue value && value.TryGetValue(out string? name) ? name : $"LABEL_{label}";

    // Hugging Face writes num_labels as a map of names, and leaves it out where there are two.
    private static int LabelsOf(ConfigReader reader) =>
        !reader.Texts("architectures").Any(Families.Family.Scores) ? 0
        : reader.Object("id2label") is { Count: > 0 } names ? names.Count
        : reader.Integer("num_labels", 1, Families.Limits.Labels, 2);
}
