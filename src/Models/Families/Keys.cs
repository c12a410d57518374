using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Families;

/// <summary>Reads the configuration keys that families share.</summary>
internal static class Keys
{
    /// <summary>The shape of a decoder of Llama's kind.</summary>
    /// <param name="reader">The configuration, with the family's defaults.</param>
    /// <param name="family">The family's name.</param>
    /// <param name="headWidth">Columns of a head if the config does not say; null for its share of the residual stream.</param>
    public static ModelConfig Decoder(ConfigReader reader, string family, int? headWidth = null)
    {
        RefuseUnserved(reader);
        int positions = reader.Integer("max_position_embeddings", 1, Limits.Positions);
        int hidden = reader.Integer("hidden_size", 1, Limits.Columns);
        int heads = reader.Integer("num_attention_heads", 1, Limits.Heads);
        var rope = RopeConfig.Read(reader, 10_000, positions);
        if (!reader.Has("head_dim") && headWidth is null && hidden % heads != 0)
            throw reader.Inconsistent($"hidden_size ({hidden}) must be a multiple of num_attention_heads ({heads}) where head_dim is missing");
        var config = new ModelConfig
        {
            Family = family,
            VocabularySize = reader.Integer("vocab_size", 1, Limits.Vocabulary),
            HiddenSize = hidden,
            FeedForwardSize = reader.Integer("intermediate_size", 1, Limits.Columns),
            Layers = reader.Integer("num_hidden_layers", 1, Limits.Layers),
            Heads = heads,
            KeyValueHeads = reader.Integer("num_key_value_heads", 1, heads, heads),
            HeadWidth = reader.Integer("head_dim", 2, Limits.HeadWidth, headWidth ?? hidden / heads),
            MaxPositions = rope.Reach(positions, Limits.Positions),
            Epsilon = (float)reader.Real("rms_norm_eps", 0, 1e-6),
            Rope = rope,
            TiedEmbeddings = reader.Has("tie_word_embeddings") ? reader.Flag("tie_word_embeddings", false) : null,
            DraftLayers = reader.Integer("num_nextn_predict_layers", 0, Limits.Layers, 0),
        };
        if (heads % config.KeyValueHeads != 0)
            throw reader.Inconsistent($"num_attention_heads ({heads}) must be a multiple of num_key_value_heads ({config.KeyValueHeads})");
        if (config.HeadWidth % 2 != 0)
            throw reader.Wrong("head_dim", $"a head's width ({config.HeadWidth}) must be even");
        return config;
    }

    /// <summary>Complains about features that no family here serves.</summary>
    public static void RefuseUnserved(ConfigReader reader)
    {
        if (reader.Text("hidden_act") is { } activation and not "silu")
            throw reader.Wrong("hidden_act", $"only 'silu' is supported");
        StoredQuantization.Check(reader);
    }

    /// <summary>A window for every layer where <paramref name="applies"/>; empty if the config has none.</summary>
    public static IReadOnlyList<int> Windows(ConfigReader reader, int layers, Func<int, bool> applies)
    {
        if (!reader.Has("sliding_window"))
            return [];
        int window = reader.Integer("sliding_window", 1);
        return [.. Enumerable.Range(0, layers).Select(layer => applies(layer) ? window : 0)];
    }

    /// <summary>Qwen's windows: switched on by a flag, in the layers that <c>layer_types</c> names or else from <c>max_window_layers</c> on.</summary>
    public static IReadOnlyList<int> QwenWindows(ConfigReader reader, int layers)
    {
        if (!reader.Flag("use_sliding_window", false))
            return [];
        IReadOnlyList<string> types = reader.Texts("layer_types");
        if (types.Count > 0 && types.Count != layers)
            throw reader.Inconsistent($"layer_types names {types.Count} layers, but num_hidden_layers is {layers}");
        int first = reader.Integer("max_window_layers", 0, fallback: 28);
        return Windows(reader, layers, layer => types.Count > 0 ? types[layer] == "sliding_attention" : layer >= first);
    }

    /// <summary>The experts of every layer but the dense ones.</summary>
    /// <param name="reader">The configuration, with the family's defaults.</param>
    /// <param name="width">Key of an expert's inner columns.</param>
    /// <param name="dense">Layers without experts.</param>
    /// <param name="sigmoid">Whether scores are sigmoids, corrected by a bias while choosing; else softmax.</param>
    /// <param name="groups">Expert groups.</param>
    /// <param name="topGroups">Groups that stay eligible.</param>
    /// <param name="groupTerms">Experts that make a group's score.</param>
    /// <param name="normalize">Whether the chosen scores are made to sum to 1.</param>
    public static ExpertConfig Experts(
        ConfigReader reader, string width, IReadOnlySet<int> dense, bool sigmoid, int groups = 1, int topGroups = 1, int groupTerms = 2, bool normalize = true)
    {
        string countKey = reader.Spelling("n_routed_experts", "num_experts", "num_local_experts");
        int count = reader.Integer(countKey, 1, Limits.Experts);
        int topK = reader.Integer("num_experts_per_tok", 1, count);
        if (groups > count || count % groups != 0)
            throw reader.Inconsistent($"{countKey} ({count}) must be a multiple of n_group ({groups})");
        if (groups > 1 && count / groups < groupTerms)
            throw reader.Inconsistent($"a group's score takes {groupTerms} experts, but {countKey} ({count}) in n_group ({groups}) groups leave fewer");
        if (topK > count / groups * topGroups)
            throw reader.Inconsistent($"num_experts_per_tok ({topK}) is more than the {count / groups * topGroups} experts of topk_group ({topGroups}) groups");
        int columns = reader.Integer(width, 1, Limits.Columns);
        int shared = reader.Integer("n_shared_experts", 0, Limits.Experts, 0);
        if (2L * Math.Max(count, shared) * columns > int.MaxValue)
            throw reader.Inconsistent($"{count} experts and {shared} shared ones of {width} {columns} are more than can be served");
        var rule = new RoutingRule(topK, sigmoid, groups, topGroups, normalize, (float)reader.Real("routed_scaling_factor", 0, 1), groupTerms);
        return new ExpertConfig(count, columns, shared, dense, rule, Corrected: sigmoid);
    }

    /// <summary>The first layers, which have no experts: first_k_dense_replace of them.</summary>
    public static IReadOnlySet<int> FirstDense(ConfigReader reader, int layers) =>
        Enumerable.Range(0, reader.Integer("first_k_dense_replace", 0, layers, 0)).ToHashSet();

    /// <summary>Which GELU a key names.</summary>
    public static GeluForm Gelu(ConfigReader reader, string key) => reader.Text(key) switch
    {
        "gelu" => GeluForm.Exact,
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => GeluForm.Tanh,
        "quick_gelu" => GeluForm.Quick,
        _ => throw reader.Wrong(key, "only 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'gelu_fast' and 'quick_gelu' are supported"),
    };
}
