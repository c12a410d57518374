using System.Globalization;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Loading;

/// <summary>
/// How one of llama.cpp's architectures names what Hugging Face's config.json and tensors name: one table, read in both
/// directions. Keys stand behind the architecture's name (<c>qwen3.block_count</c>).
/// </summary>
internal sealed class GgufArchitecture
{
    private static readonly (string Gguf, string Config)[] Shared =
    [
        ("context_length", "max_position_embeddings"), ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"), ("attention.layer_norm_rms_epsilon", "rms_norm_eps"), ("rope.freq_base", "rope_theta"),
        ("vocab_size", "vocab_size"),
    ];

    private static readonly (string Gguf, string Config)[] SharedTensors =
    [
        ("attn_norm.weight", "input_layernorm.weight"), ("ffn_norm.weight", "post_attention_layernorm.weight"), ("attn_output.weight", "self_attn.o_proj.weight"),
        ("ffn_gate.weight", "mlp.gate_proj.weight"), ("ffn_up.weight", "mlp.up_proj.weight"), ("ffn_down.weight", "mlp.down_proj.weight"),
    ];

    private GgufArchitecture(string name, string modelType, string className, (string, string)[] keys, (string, string)[] tensors)
    {
        (Name, ModelType, ClassName) = (name, modelType, className);
        Keys = [.. Shared, .. keys];
        LayerTensors = [.. SharedTensors, .. tensors];
    }

    /// <summary>All of them.</summary>
    public static IReadOnlyList<GgufArchitecture> All { get; } =
    [
        new("qwen3", "qwen3", "Qwen3ForCausalLM",
            [("attention.head_count_kv", "num_key_value_heads"), ("attention.key_length", "head_dim"), ("attention.value_length", "head_dim")],
            [
                ("attn_q.weight", "self_attn.q_proj.weight"), ("attn_k.weight", "self_attn.k_proj.weight"), ("attn_v.weight", "self_attn.v_proj.weight"),
                ("attn_q_norm.weight", "self_attn.q_norm.weight"), ("attn_k_norm.weight", "self_attn.k_norm.weight"),
            ]),
        new("deepseek2", "deepseek_v3", "DeepseekV3ForCausalLM",
            [
                ("leading_dense_block_count", "first_k_dense_replace"), ("attention.q_lora_rank", "q_lora_rank"), ("attention.kv_lora_rank", "kv_lora_rank"),
                ("rope.dimension_count", "qk_rope_head_dim"), ("expert_feed_forward_length", "moe_intermediate_size"), ("expert_count", "n_routed_experts"),
                ("expert_used_count", "num_experts_per_tok"), ("expert_shared_count", "n_shared_experts"), ("expert_weights_scale", "routed_scaling_factor"),
                ("expert_weights_norm", "norm_topk_prob"), ("expert_group_count", "n_group"), ("expert_group_used_count", "topk_group"),
                ("nextn_predict_layers", "num_nextn_predict_layers"),
            ],
            [
                ("attn_q.weight", "self_attn.q_proj.weight"), ("attn_q_a.weight", "self_attn.q_a_proj.weight"), ("attn_q_b.weight", "self_attn.q_b_proj.weight"),
                ("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"), ("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"),
                ("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"), ("ffn_gate_inp.weight", "mlp.gate.weight"),
                ("exp_probs_b.bias", "mlp.gate.e_score_correction_bias"), ("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"),
                ("ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"), ("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"),
                ("nextn.eh_proj.weight", "eh_proj.weight"), ("nextn.enorm.weight", "enorm.weight"), ("nextn.hnorm.weight", "hnorm.weight"),
                ("nextn.shared_head_norm.weight", "shared_head.norm.weight"), ("nextn.embed_tokens.weight", "embed_tokens.weight"),
                ("nextn.shared_head_head.weight", "shared_head.head.weight"),
            ]),
    ];

    /// <summary>Tensors outside the layers: GGUF name, Hugging Face name.</summary>
    public static IReadOnlyList<(string Gguf, string Config)> ModelTensors { get; } =
    [
        ("token_embd.weight", "model.embed_tokens.weight"), ("output_norm.weight", "model.norm.weight"), ("output.weight", "lm_head.weight"),
    ];

    /// <summary>Merged expert matrices: GGUF name within a layer, name of one expert's.</summary>
    public static IReadOnlyList<(string Gguf, string Config)> Experts { get; } =
    [
        ("ffn_gate_exps.weight", "gate_proj.weight"), ("ffn_up_exps.weight", "up_proj.weight"), ("ffn_down_exps.weight", "down_proj.weight"),
    ];

    /// <summary>llama.cpp's name.</summary>
    public string Name { get; }

    /// <summary>Hugging Face's model_type.</summary>
    public string ModelType { get; }

    /// <summary>Hugging Face's class.</summary>
    public string ClassName { get; }

    /// <summary>Entries that carry over as they are.</summary>
    public IReadOnlyList<(string Gguf, string Config)> Keys { get; }

    /// <summary>Tensors of a layer that carry over as they are.</summary>
    public IReadOnlyList<(string Gguf, string Config)> LayerTensors { get; }

    /// <summary>Whether the latent's expansion is stored as two tensors, keys transposed (llama.cpp's form of absorbed attention).</summary>
    public bool IsLatent => Name == "deepseek2";

    /// <summary>Rebuilds config.json from a file's metadata.</summary>
    public JsonObject ReadConfig(GgufFile file)
    {
        JsonObject config = new() { ["architectures"] = new JsonArray(ClassName), ["model_type"] = ModelType };
        foreach ((string gguf, string name) in Keys)
            if (file.Metadata.TryGetValue($"{Name}.{gguf}", out object? value))
                config[name] = Node(value);
        long layers = Integer(file, "block_count"), drafts = IsLatent ? Integer(file, "nextn_predict_layers", 0) : 0;
        config["num_hidden_layers"] = layers - drafts;
        if (file.Tensors.TryGetValue("token_embd.weight", out StoredTensor? table))
            config["vocab_size"] = table.Shape[0];
        config["tie_word_embeddings"] = !file.Tensors.ContainsKey("output.weight");
        foreach (string which in new[] { "bos", "eos" })
            if (file.Metadata.TryGetValue($"tokenizer.ggml.{which}_token_id", out object? id))
                config[$"{which}_token_id"] = Node(id);
        if (IsLatent)
        {
            config["qk_nope_head_dim"] = Integer(file, "attention.key_length_mla") - Integer(file, "rope.dimension_count");
            config["v_head_dim"] = Integer(file, "attention.value_length_mla");
            if (Integer(file, "expert_gating_func", 2) != 2)
                config["scoring_func"] = "softmax";
        }
        if (file.Metadata.GetValueOrDefault($"{Name}.rope.scaling.type") is string scaling and not "none")
        {
            JsonObject rope = new() { ["rope_type"] = scaling, ["factor"] = Node(file.Metadata.GetValueOrDefault($"{Name}.rope.scaling.factor", 1.0)) };
            if (file.Metadata.TryGetValue($"{Name}.rope.scaling.original_context_length", out object? original))
                rope["original_max_position_embeddings"] = Node(original);
            if (file.Metadata.TryGetValue($"{Name}.rope.scaling.yarn_log_multiplier", out object? multiplier))
                (rope["mscale"], rope["mscale_all_dim"]) = (Scale(multiplier), Scale(multiplier));
            config["rope_scaling"] = rope;
        }
        return config;
    }

    /// <summary>A whole number of the metadata.</summary>
    public long Integer(GgufFile file, string key, long? fallback = null) => file.Metadata.GetValueOrDefault($"{Name}.{key}") switch
    {
        ulong value when value <= int.MaxValue => (long)value,
        long value and >= 0 and <= int.MaxValue => value,
        null when fallback is { } given => given,
        _ => throw new ModelLoadException($"The GGUF file says nothing useful for '{Name}.{key}'. Convert the model again with a current tool."),
    };

    private static double Scale(object multiplier) => multiplier is double number ? Math.Round(number * 10, 6)
        : throw new ModelLoadException("The GGUF file's 'rope.scaling.yarn_log_multiplier' is no real number. Convert the model again with a current tool.");

    // Singles print as they were written, not with the digits that widening them brings.
    private static JsonValue? Node(object value) => value switch
    {
        ulong number => JsonValue.Create(number),
        long number => JsonValue.Create(number),
        double number => JsonValue.Create(double.Parse(((float)number).ToString("R", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture)),
        bool flag => JsonValue.Create(flag),
        string text => JsonValue.Create(text),
        _ => null,
    };
}
