namespace XDeepServe.Models.Loading;

/// <summary>
/// How one of llama.cpp's architectures names what Hugging Face's config.json and tensors name: tables, read in both
/// directions. Keys stand behind the architecture's name (<c>qwen3.block_count</c>).
/// </summary>
internal sealed class GgufArchitecture
{
    /// <summary>The sliding window of every layer. llama.cpp pays it no attention in the architectures that are written here.</summary>
    public const string WindowKey = "attention.sliding_window";

    private static readonly (string, string)[] SharedKeys =
    [
        ("context_length", "max_position_embeddings"), ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"), ("attention.layer_norm_rms_epsilon", "rms_norm_eps"), ("rope.freq_base", "rope_theta"),
        ("vocab_size", "vocab_size"),
    ];

    private static readonly (string, string)[] HeadKeys =
        [("attention.head_count_kv", "num_key_value_heads"), ("attention.key_length", "head_dim"), ("attention.value_length", "head_dim")];

    private static readonly (string, string)[] ExpertKeys =
        [("expert_count", "n_routed_experts"), ("expert_used_count", "num_experts_per_tok")];

    private static readonly (string, string)[] DeepSeekKeys =
    [
        .. ExpertKeys, ("leading_dense_block_count", "first_k_dense_replace"), ("expert_feed_forward_length", "moe_intermediate_size"),
        ("expert_shared_count", "n_shared_experts"), ("expert_weights_scale", "routed_scaling_factor"), ("expert_weights_norm", "norm_topk_prob"),
        ("expert_group_count", "n_group"), ("expert_group_used_count", "topk_group"), ("nextn_predict_layers", "num_nextn_predict_layers"),
    ];

    private static readonly (string, string)[] SharedTensors =
    [
        ("attn_norm.weight", "input_layernorm.weight"), ("attn_output.weight", "self_attn.o_proj.weight"), ("attn_output.bias", "self_attn.o_proj.bias"),
        ("ffn_up.weight", "mlp.up_proj.weight"), ("ffn_down.weight", "mlp.down_proj.weight"),
    ];

    private static readonly (string, string)[] GatedTensors = [("ffn_norm.weight", "post_attention_layernorm.weight"), ("ffn_gate.weight", "mlp.gate_proj.weight")];

    private static readonly (string, string)[] HeadTensors =
    [
        ("attn_q.weight", "self_attn.q_proj.weight"), ("attn_k.weight", "self_attn.k_proj.weight"), ("attn_v.weight", "self_attn.v_proj.weight"),
        ("attn_q.bias", "self_attn.q_proj.bias"), ("attn_k.bias", "self_attn.k_proj.bias"), ("attn_v.bias", "self_attn.v_proj.bias"),
    ];

    private static readonly (string, string)[] HeadNormTensors =
        [("attn_q_norm.weight", "self_attn.q_norm.weight"), ("attn_k_norm.weight", "self_attn.k_norm.weight")];

    private static readonly (string, string)[] RouterTensors = [("ffn_gate_inp.weight", "mlp.gate.weight")];

    private static readonly (string, string)[] DeepSeekTensors =
    [
        .. RouterTensors, ("exp_probs_b.bias", "mlp.gate.e_score_correction_bias"), ("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"),
        ("ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"), ("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"),
        ("nextn.eh_proj.weight", "eh_proj.weight"), ("nextn.enorm.weight", "enorm.weight"), ("nextn.hnorm.weight", "hnorm.weight"),
        ("nextn.shared_head_norm.weight", "shared_head.norm.weight"), ("nextn.embed_tokens.weight", "embed_tokens.weight"),
        ("nextn.shared_head_head.weight", "shared_head.head.weight"),
    ];

    private static readonly (string, string)[] LatentTensors =
    [
        ("attn_q.weight", "self_attn.q_proj.weight"), ("attn_q_a.weight", "self_attn.q_a_proj.weight"), ("attn_q_b.weight", "self_attn.q_b_proj.weight"),
        ("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"), ("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"),
        ("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"),
    ];

    private GgufArchitecture(string name, string[] families, (string, string)[] keys, (string, string)[] tensors)
    {
        (Name, Families) = (name, families);
        Keys = keys;
        LayerTensors = [.. SharedTensors, .. tensors];
    }

    /// <summary>All of them.</summary>
    public static IReadOnlyList<GgufArchitecture> All { get; } =
    [
        new("llama", ["llama", "mistral", "mixtral"], [.. SharedKeys, .. HeadKeys, .. ExpertKeys], [.. GatedTensors, .. HeadTensors, .. RouterTensors]),
        new("qwen2", ["qwen2"], [.. SharedKeys, .. HeadKeys], [.. GatedTensors, .. HeadTensors]),
        new("qwen3", ["qwen3"], [.. SharedKeys, .. HeadKeys], [.. GatedTensors, .. HeadTensors, .. HeadNormTensors]),
        new("qwen3moe", ["qwen3_moe"], [.. SharedKeys, .. HeadKeys, .. ExpertKeys, ("expert_feed_forward_length", "moe_intermediate_size")],
            [.. GatedTensors, .. HeadTensors, .. HeadNormTensors, .. RouterTensors]),
        new("glm4moe", ["glm4_moe"], [.. SharedKeys, .. HeadKeys, .. DeepSeekKeys],
            [("post_attention_norm.weight", "post_attention_layernorm.weight"), ("ffn_gate.weight", "mlp.gate_proj.weight"), .. HeadTensors, .. HeadNormTensors, .. DeepSeekTensors]),
        new("deepseek2", ["deepseek_v3", "deepseek_v2"],
            [
                .. SharedKeys, .. DeepSeekKeys, ("attention.q_lora_rank", "q_lora_rank"), ("attention.kv_lora_rank", "kv_lora_rank"),
                ("rope.dimension_count", "qk_rope_head_dim"),
            ],
            [.. GatedTensors, .. LatentTensors, .. DeepSeekTensors]),
        new("gpt2", ["gpt2"],
            [
                ("context_length", "n_positions"), ("embedding_length", "n_embd"), ("feed_forward_length", "n_inner"), ("attention.head_count", "n_head"),
                ("attention.layer_norm_epsilon", "layer_norm_epsilon"), ("vocab_size", "vocab_size"),
            ],
            [
                ("attn_norm.bias", "input_layernorm.bias"), ("attn_qkv.weight", "self_attn.qkv_proj.weight"), ("attn_qkv.bias", "self_attn.qkv_proj.bias"),
                ("ffn_norm.weight", "post_attention_layernorm.weight"), ("ffn_norm.bias", "post_attention_layernorm.bias"), ("ffn_up.bias", "mlp.up_proj.bias"),
                ("ffn_down.bias", "mlp.down_proj.bias"),
            ]),
    ];

    /// <summary>Tensors outside the layers: GGUF name, Hugging Face name.</summary>
    public static IReadOnlyList<(string Gguf, string Config)> ModelTensors { get; } =
    [
        ("token_embd.weight", "model.embed_tokens.weight"), ("position_embd.weight", "model.embed_positions.weight"), ("output_norm.weight", "model.norm.weight"),
        ("output_norm.bias", "model.norm.bias"), ("output.weight", "lm_head.weight"),
    ];

    /// <summary>Merged expert matrices: GGUF name within a layer, name of one expert's.</summary>
    public static IReadOnlyList<(string Gguf, string Config)> Experts { get; } =
    [
        ("ffn_gate_exps.weight", "gate_proj.weight"), ("ffn_up_exps.weight", "up_proj.weight"), ("ffn_down_exps.weight", "down_proj.weight"),
    ];

    /// <summary>llama.cpp's name.</summary>
    public string Name { get; }

    /// <summary>Hugging Face's model types that are written so.</summary>
    public IReadOnlyList<string> Families { get; }

    /// <summary>Entries that carry over as they are.</summary>
    public IReadOnlyList<(string Gguf, string Config)> Keys { get; }

    /// <summary>Tensors of a layer that carry over as they are.</summary>
    public IReadOnlyList<(string Gguf, string Config)> LayerTensors { get; }

    /// <summary>Whether the latent's expansion is stored as two tensors, keys transposed (llama.cpp's form of absorbed attention).</summary>
    public bool IsLatent => Name == "deepseek2";

    /// <summary>
    /// Whether llama.cpp rotates neighbours (2i, 2i + 1) of a head, so that the rows of queries and keys are stored in another
    /// order than Hugging Face's, which rotates (i, i + width / 2).
    /// </summary>
    public bool RotatesNeighbours => Name == "llama";

    /// <summary>Where row <paramref name="row"/> of a stored query or key projection is in Hugging Face's order.</summary>
    /// <param name="row">Row in the file.</param>
    /// <param name="width">Columns of a head.</param>
    public static int PublishedRow(int row, int width) => row / width * width + row % 2 * (width / 2) + row % width / 2;

    /// <summary>Hugging Face's name of a query or key projection whose rows may be reordered.</summary>
    public static bool IsRotated(string name) =>
        name.Contains(".self_attn.q_proj.", StringComparison.Ordinal) || name.Contains(".self_attn.k_proj.", StringComparison.Ordinal);
}
