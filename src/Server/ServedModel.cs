using System.Text.Json.Nodes;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;

namespace XDeepServe.Server;

/// <summary>A loaded model with its engine, as the server answers for it. The caller keeps and disposes the engine.</summary>
public sealed record ServedModel
{
    /// <summary>Runs the requests.</summary>
    public required IEngine Engine { get; init; }

    /// <summary>Turns text into ids and back; null when only ids are served.</summary>
    public Tokenizer? Tokenizer { get; init; }

    /// <summary>Renders chat messages into a prompt; null when the model has no template.</summary>
    public ChatTemplate? Template { get; init; }

    /// <summary>Most tokens of a prompt and its answer together.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>Number of token ids the model knows.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Names of the score head's values; empty for a model without one.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>How images are taken; null for a model of text alone.</summary>
    public ImageInput? Images { get; init; }

    /// <summary>Picks the best of several answers; null where none was given to the server. Stays the caller's.</summary>
    public IRewardModel? Rewards { get; init; }

    /// <summary>Whether <see cref="Rewards"/> sees images beside text.</summary>
    public bool RewardsSeeImages { get; init; }

    /// <summary>The model's <c>generation_config.json</c>, whose sampling values become defaults; null for none.</summary>
    public JsonObject? GenerationConfig { get; init; }
}
