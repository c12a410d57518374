using XDeepServe.Kernels;
using XDeepServe.Models.Layers;

namespace XDeepServe.Models.Families;

/// <summary>LLaVA-1.5: CLIP's vision transformer, two matrices, and a text model of another family.</summary>
public sealed class Llava : Family
{
    /// <inheritdoc/>
    public override string Name => "llava";

    /// <inheritdoc/>
    public override string Architecture => "LlavaForConditionalGeneration";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "multimodal_projector_bias": true,
              "image_token_index": 32000, "text_config": {}, "vision_config": {
                "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14
              }
            }
            """);
        ConfigReader text = reader.Section("text_config")!.Or("""{ "model_type": "llama" }""");
        Family inner = For(text);
        if (inner is Llava)
            throw text.Inconsistent("a text model cannot hold images itself");
        ModelConfig config = inner.Read(text);
        ImageConfig images = ReadImages(reader, inner.Name);
        if (images.TokenId >= config.VocabularySize)
            throw reader.Inconsistent($"image_token_index {images.TokenId} is outside the vocabulary of {config.VocabularySize} tokens");
        // Outer and inner config may say different things about the output matrix; the file knows.
        return config with { Family = Name, Images = images, TiedEmbeddings = null };
    }

    /// <inheritdoc/>
    public override int RopeWidth(ModelConfig config) => Text(config).RopeWidth(config);

    /// <inheritdoc/>
    public override AttentionUnit LoadAttention(int layer, ModelConfig config, WeightLoader loader, Tensor rope) =>
        Text(config).LoadAttention(layer, config, loader, rope);

    /// <inheritdoc/>
    public override FeedForwardUnit LoadFeedForward(int layer, ModelConfig config, WeightLoader loader) =>
        Text(config).LoadFeedForward(layer, config, loader);

    /// <inheritdoc/>
    public override Norm LoadNorm(string name, ModelConfig config, WeightLoader loader) => Text(config).LoadNorm(name, config, loader);

    /// <inheritdoc/>
    public override ImageEncoder LoadImages(ModelConfig config, WeightLoader loader)
    {
        ImageConfig shape = config.Images!;
        (int hidden, int patch, int text) = (shape.HiddenSize, shape.PatchSize, config.HiddenSize);
        const string Tower = "vision_tower", Projector = "multi_modal_projector";
        Weight up = loader.Linear(hidden, new WeightPart($"{Projector}.linear_1.weight", text));
        Weight down = loader.Linear(text, new WeightPart($"{Projector}.linear_2.weight", text));
        Tensor Bias(string name) => shape.ProjectorBias ? loader.Vector(new WeightPart($"{Projector}.{name}.bias", text)) : default;
        return new ImageEncoder(
            shape,
            loader.Single(shape.PatchColumns, new WeightPart($"{Tower}.embeddings.patch_embedding.weight", hidden, [hidden, ImageConfig.Channels, patch, patch])),
            loader.Vector(new WeightPart($"{Tower}.embeddings.class_embedding", hidden)),
            loader.Rows(hidden, new WeightPart($"{Tower}.embeddings.position_embedding.weight", shape.Patches + 1)),
            EncoderNorm($"{Tower}.pre_layrnorm"),
            [.. Enumerable.Range(0, shape.Layers).Select(layer => Layer($"{Tower}.encoder.layers.{layer}"))],
            new PlainFeedForward(up, Bias("linear_1"), down, Bias("linear_2"), shape.ProjectorActivation),
            text);

        Norm EncoderNorm(string name) => new(
            loader.Vector(new WeightPart($"{name}.weight", hidden)), shape.Epsilon, centred: true, loader.Vector(new WeightPart($"{name}.bias", hidden)));

        WeightPart[] Projections(string prefix, string kind) =>
            [new($"{prefix}.self_attn.q_proj.{kind}", hidden), new($"{prefix}.self_attn.k_proj.{kind}", hidden), new($"{prefix}.self_attn.v_proj.{kind}", hidden)];

        EncoderLayer Layer(string prefix) => new(
            EncoderNorm($"{prefix}.layer_norm1"),
            loader.Linear(hidden, Projections(prefix, "weight")), loader.Vector(Projections(prefix, "bias")),
            loader.Linear(hidden, new WeightPart($"{prefix}.self_attn.out_proj.weight", hidden)), loader.Vector(new WeightPart($"{prefix}.self_attn.out_proj.bias", hidden)),
            EncoderNorm($"{prefix}.layer_norm2"),
            new PlainFeedForward(
                loader.Linear(hidden, new WeightPart($"{prefix}.mlp.fc1.weight", shape.FeedForwardSize)), loader.Vector(new WeightPart($"{prefix}.mlp.fc1.bias", shape.FeedForwardSize)),
                loader.Linear(shape.FeedForwardSize, new WeightPart($"{prefix}.mlp.fc2.weight", hidden)), loader.Vector(new WeightPart($"{prefix}.mlp.fc2.bias", hidden)),
                shape.Activation),
            shape.Heads);
    }

    /// <inheritdoc/>
    public override IEnumerable<Spelling> Spellings(string name)
    {
        if (name.StartsWith("vision_tower.", StringComparison.Ordinal))
        {
            string inner = name.Insert("vision_tower.".Length, "vision_model.");
            return [new Spelling(inner), new Spelling($"model.{name}"), new Spelling($"model.{inner}")];
        }
        if (name.StartsWith("multi_modal_projector.", StringComparison.Ordinal))
            return [new Spelling($"model.{name}")];
        return name.StartsWith("model.", StringComparison.Ordinal)
            ? [new Spelling($"language_model.{name}"), new Spelling($"model.language_model.{name["model.".Length..]}")]
            : [new Spelling($"language_model.{name}")];
    }

    private static Family Text(ModelConfig config) => Of(config.Images!.TextFamily);

    private static ImageConfig ReadImages(ConfigReader reader, string textFamily)
    {
        ConfigReader vision = reader.Section("vision_config")!.Or("""
            {
              "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 32,
              "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5
            }
            """);
        if (vision.Text("model_type") is { } type and not "clip_vision_model")
            throw vision.Wrong("model_type", "only 'clip_vision_model' is supported");
        if (vision.Integer("num_channels", 1, fallback: ImageConfig.Channels) != ImageConfig.Channels)
            throw vision.Wrong("num_channels", $"only {ImageConfig.Channels} are supported");
        int size = vision.Integer("image_size", 1, Limits.ImageSize), patch = vision.Integer("patch_size", 1, size);
        int hidden = vision.Integer("hidden_size", 1, Limits.Columns), heads = vision.Integer("num_attention_heads", 1, Limits.Heads);
        if (hidden % heads != 0)
            throw vision.Inconsistent($"hidden_size ({hidden}) must be a multiple of num_attention_heads ({heads})");
        int layers = vision.Integer("num_hidden_layers", 1, Limits.Layers);
        // States are counted from the one before the first layer; -1 is the one behind the last.
        int layer = reader.Integer("vision_feature_layer", -layers - 1, layers);
        bool keepsClass = reader.Text("vision_feature_select_strategy") switch
        {
            "default" => false,
            "full" => true,
            _ => throw reader.Wrong("vision_feature_select_strategy", "only 'default' and 'full' are supported"),
        };
        return new ImageConfig(
            textFamily, reader.Integer(reader.Spelling("image_token_id", "image_token_index"), 0, Limits.Vocabulary), size, patch, hidden,
            vision.Integer("intermediate_size", 1, Limits.Columns), layer < 0 ? layers + 1 + layer : layer, heads, (float)vision.Real("layer_norm_eps", 0),
            Keys.Gelu(vision, "hidden_act"), Keys.Gelu(reader, "projector_hidden_act"), reader.Flag("multimodal_projector_bias", true), keepsClass);
    }
}
