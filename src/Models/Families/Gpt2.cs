using System.Text.RegularExpressions;
using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>GPT-2: learned positions, centred norms, feed-forward units without gates, matrices stored input features first.</summary>
public sealed partial class Gpt2 : Family
{
    /// <inheritdoc/>
    public override string Name => "gpt2";

    /// <inheritdoc/>
    public override string Architecture => "GPT2LMHeadModel";

    /// <inheritdoc/>
    protected override string Stem => "GPT2";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "activation_function": "gelu_new",
              "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true
            }
            """);
        Keys.RefuseUnserved(reader);
        int hidden = reader.Integer("n_embd", 1, Limits.Columns), heads = reader.Integer("n_head", 1, Limits.Heads);
        if (hidden % heads != 0)
            throw reader.Inconsistent($"n_embd ({hidden}) must be a multiple of n_head ({heads})");
        foreach (string key in (string[])["scale_attn_by_inverse_layer_idx", "add_cross_attention"])
            if (reader.Flag(key, false))
                throw reader.Wrong(key, "only false is supported");
        if (!reader.Flag("scale_attn_weights", true))
            throw reader.Wrong("scale_attn_weights", "only true is supported");
        return new ModelConfig
        {
            Family = Name,
            VocabularySize = reader.Integer("vocab_size", 1, Limits.Vocabulary),
            HiddenSize = hidden,
            FeedForwardSize = reader.Integer("n_inner", 1, Limits.Columns, 4 * hidden),
            Layers = reader.Integer("n_layer", 1, Limits.Layers),
            Heads = heads,
            KeyValueHeads = heads,
            HeadWidth = hidden / heads,
            MaxPositions = reader.Integer("n_positions", 1, Limits.Positions),
            Epsilon = (float)reader.Real("layer_norm_epsilon", 0),
            Rope = new RopeConfig(10_000),
            RotatedColumns = 0,
            AttentionBias = true,
            OutputBias = true,
            FeedForwardBias = true,
            Activation = Keys.Gelu(reader, "activation_function"),
            TiedEmbeddings = reader.Flag("tie_word_embeddings", true),
        };
    }

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope)
    {
        string prefix = $"model.layers.{layer}.self_attn";
        int hidden = config.HiddenSize;
        return new GroupedQueryAttention(
            config.Heads, config.Heads, config.HeadWidth,
            loader.Linear(hidden, new WeightPart($"{prefix}.qkv_proj.weight", 3 * hidden)), loader.Vector(new WeightPart($"{prefix}.qkv_proj.bias", 3 * hidden)),
            loader.Linear(hidden, new WeightPart($"{prefix}.o_proj.weight", hidden)), loader.Vector(new WeightPart($"{prefix}.o_proj.bias", hidden)),
            default, default, config.Epsilon, rope);
    }

    /// <inheritdoc/>
    public override FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader)
    {
        string prefix = $"model.layers.{layer}.mlp";
        (int hidden, int width) = (config.HiddenSize, config.FeedForwardSize);
        return new PlainFeedForward(
            loader.Linear(hidden, new WeightPart($"{prefix}.up_proj.weight", width)), loader.Vector(new WeightPart($"{prefix}.up_proj.bias", width)),
            loader.Linear(width, new WeightPart($"{prefix}.down_proj.weight", hidden)), loader.Vector(new WeightPart($"{prefix}.down_proj.bias", hidden)),
            config.Activation!.Value);
    }

    /// <inheritdoc/>
    public override Norm LoadNorm(string name, ModelConfig config, WeightLoader loader) => new(
        loader.Vector(new WeightPart($"{name}.weight", config.HiddenSize)), config.Epsilon, centred: true,
        loader.Vector(new WeightPart($"{name}.bias", config.HiddenSize)));

    /// <inheritdoc/>
    public override Weight LoadPositions(ModelConfig config, WeightLoader loader) =>
        loader.Unquantized(config.HiddenSize, new WeightPart("model.embed_positions.weight", config.MaxPositions), plain: false);

    /// <inheritdoc/>
    public override IEnumerable<Spelling> Spellings(string name)
    {
        string published = Layer().Replace(name, "h.$1.");
        foreach ((string common, string own) in Names)
            published = published.Replace(common, own, StringComparison.Ordinal);
        bool transposed = published.Contains(".c_", StringComparison.Ordinal) && published.EndsWith(".weight", StringComparison.Ordinal);
        return published == name ? [] : [new Spelling("transformer." + published, transposed), new Spelling(published, transposed)];
    }

    private static (string Common, string Own)[] Names { get; } =
    [
        ("input_layernorm", "ln_1"), ("self_attn.qkv_proj", "attn.c_attn"), ("self_attn.o_proj", "attn.c_proj"), ("post_attention_layernorm", "ln_2"),
        ("mlp.up_proj", "mlp.c_fc"), ("mlp.down_proj", "mlp.c_proj"),
        ("model.embed_tokens", "wte"), ("model.embed_positions", "wpe"), ("model.norm", "ln_f"),
    ];

    [GeneratedRegex("^model\\.layers\\.(\\d+)\\.")]
    private static partial Regex Layer();
}
