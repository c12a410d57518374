using System.Text.Json.Nodes;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

/// <summary>A small network of every family, in shapes that divide badly.</summary>
internal static class FamilyConfigs
{
    private const string Common = """
        "vocab_size": 130, "num_hidden_layers": 3, "max_position_embeddings": 256, "eos_token_id": 2
        """;

    private const string Grouped = """
        "hidden_size": 60, "intermediate_size": 92, "num_attention_heads": 6, "num_key_value_heads": 3
        """;

    private const string Latent = """
        "hidden_size": 60, "intermediate_size": 92, "num_attention_heads": 3, "kv_lora_rank": 20, "qk_nope_head_dim": 12, "qk_rope_head_dim": 6,
        "v_head_dim": 10, "moe_intermediate_size": 28, "n_routed_experts": 12, "num_experts_per_tok": 3, "n_shared_experts": 2, "first_k_dense_replace": 2
        """;

    /// <summary>Names of all networks.</summary>
    public static IEnumerable<string> Names => All.Select(item => item.Name);

    private static (string Name, string Type, string Keys)[] All { get; } =
    [
        ("llama", "llama", Grouped + """, "head_dim": 14, "attention_bias": true, "mlp_bias": true, "rope_scaling": {"type": "linear", "factor": 2.0}"""),
        ("llama_tied", "llama", """
            "hidden_size": 60, "intermediate_size": 92, "num_attention_heads": 5, "tie_word_embeddings": true, "rope_scaling":
            {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
            """),
        ("mistral", "mistral", Grouped + """, "sliding_window": 11"""),
        ("mixtral", "mixtral", Grouped + """, "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": null"""),
        ("qwen2", "qwen2", Grouped + """, "use_sliding_window": true, "sliding_window": 9, "max_window_layers": 1"""),
        ("qwen3", "qwen3", Grouped + """, "head_dim": 22"""),
        ("qwen3_moe", "qwen3_moe", Grouped + """
            , "head_dim": 22, "num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "mlp_only_layers": [1], "norm_topk_prob": true
            """),
        ("deepseek_v2", "deepseek_v2", Latent + """
            , "q_lora_rank": 24, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2, "routed_scaling_factor": 3.0
            """),
        ("deepseek_v2_lite", "deepseek_v2", Latent + """
            , "q_lora_rank": null, "topk_method": "greedy", "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 64,
            "mscale": 0.707, "mscale_all_dim": 0.707, "beta_fast": 32, "beta_slow": 1}
            """),
        ("deepseek_v3", "kimi_k2", Latent + """, "q_lora_rank": 24, "n_group": 3, "topk_group": 2, "num_nextn_predict_layers": 1"""),
        ("glm4_moe", "glm4_moe", Grouped + """
            , "head_dim": 20, "partial_rotary_factor": 0.5, "attention_bias": true, "use_qk_norm": true, "moe_intermediate_size": 20, "n_routed_experts": 7,
            "num_experts_per_tok": 3, "n_shared_experts": 1, "first_k_dense_replace": 2, "num_nextn_predict_layers": 1
            """),
        ("gpt2", "gpt2", """ "n_embd": 60, "n_head": 5, "n_layer": 3, "n_positions": 256 """),
        ("llava", "llava", """
            "image_token_index": 129, "text_config": {"model_type": "mistral", "hidden_size": 60, "intermediate_size": 92, "num_attention_heads": 6,
            "num_key_value_heads": 3, "vocab_size": 130, "num_hidden_layers": 3, "max_position_embeddings": 256, "sliding_window": 30},
            "vision_config": {"hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 33, "patch_size": 10}
            """),
    ];

    /// <summary>The config.json of a network.</summary>
    public static JsonObject Config(string name)
    {
        (_, string type, string keys) = All.Single(item => item.Name == name);
        return JsonNode.Parse($$"""{ "model_type": "{{type}}", {{Common}}, {{keys}} }""")!.AsObject();
    }

    /// <summary>Random weights for a config.json.</summary>
    public static Checkpoint Random(JsonObject config)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory();
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "config.json"), config.ToJsonString());
            return Checkpoint.Open(folder.FullName, LoadFormat.Dummy);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
