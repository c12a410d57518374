using System.Text.Json.Nodes;
using XDeepServe.Kernels;

namespace XDeepServe.Models.Tests;

/// <summary>Small random models whose configuration a test may bend.</summary>
internal static class TinyModel
{
    private const int Vocabulary = 96;
    private const int Hidden = 64;

    public static JsonObject DeepSeekConfig() => JsonNode.Parse("""
        {
          "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias": false, "bos_token_id": 1,
          "eos_token_id": [2, 3], "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
          "kv_lora_rank": 32, "max_position_embeddings": 512, "moe_intermediate_size": 32, "n_group": 4, "n_routed_experts": 8,
          "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 2, "num_experts_per_tok": 2, "num_hidden_layers": 2,
          "q_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
          "routed_scaling_factor": 2.0, "topk_group": 2, "v_head_dim": 16, "vocab_size": 96, "tie_word_embeddings": false
        }
        """)!.AsObject();

    public static JsonObject Qwen3Config() => JsonNode.Parse("""
        {
          "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
          "head_dim": 32, "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 512,
          "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
          "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 96
        }
        """)!.AsObject();

    /// <summary>Random weights for a configuration with the sizes above.</summary>
    public static MemoryCheckpoint Checkpoint(JsonObject config, ElementType type = ElementType.BF16)
    {
        var checkpoint = new MemoryCheckpoint(config);
        bool bias = config["attention_bias"]!.GetValue<bool>();
        bool latent = config["model_type"]!.GetValue<string>() == "deepseek_v3";
        Matrix("model.embed_tokens", Vocabulary, Hidden);
        Gain("model.norm", Hidden);
        if (!config["tie_word_embeddings"]!.GetValue<bool>())
            Matrix("lm_head", Vocabulary, Hidden);
        for (int layer = 0; layer < 2; layer++)
        {
            string prefix = $"model.layers.{layer}";
            Gain($"{prefix}.input_layernorm", Hidden);
            Gain($"{prefix}.post_attention_layernorm", Hidden);
            if (latent)
                Latent($"{prefix}.self_attn");
            else
                Grouped($"{prefix}.self_attn");
            if (latent && layer > 0)
                Experts($"{prefix}.mlp");
            else
                Dense($"{prefix}.mlp", 96);
        }
        return checkpoint;

        void Matrix(string name, int rows, int columns) => checkpoint.Add($"{name}.weight", type, 0, rows, columns);
        void Gain(string name, int length) => checkpoint.Add($"{name}.weight", type, 1, length);
        void Biased(string name, int rows, int columns)
        {
            Matrix(name, rows, columns);
            if (bias)
                checkpoint.Add($"{name}.bias", type, 0, rows);
        }

        void Latent(string name)
        {
            if (config["q_lora_rank"] is null)
            {
                Matrix($"{name}.q_proj", 48, Hidden);
            }
            else
            {
                Biased($"{name}.q_a_proj", 32, Hidden);
                Gain($"{name}.q_a_layernorm", 32);
                Matrix($"{name}.q_b_proj", 48, 32);
            }
            Biased($"{name}.kv_a_proj_with_mqa", 40, Hidden);
            Gain($"{name}.kv_a_layernorm", 32);
            Matrix($"{name}.kv_b_proj", 64, 32);
            Biased($"{name}.o_proj", Hidden, 32);
        }

        void Grouped(string name)
        {
            Biased($"{name}.q_proj", 128, Hidden);
            Biased($"{name}.k_proj", 64, Hidden);
            Biased($"{name}.v_proj", 64, Hidden);
            Biased($"{name}.o_proj", Hidden, 128);
            Gain($"{name}.q_norm", 32);
            Gain($"{name}.k_norm", 32);
        }

        void Dense(string name, int width)
        {
            Matrix($"{name}.gate_proj", width, Hidden);
            Matrix($"{name}.up_proj", width, Hidden);
            Matrix($"{name}.down_proj", Hidden, width);
        }

        void Experts(string name)
        {
            Matrix($"{name}.gate", 8, Hidden);
            checkpoint.Add($"{name}.gate.e_score_correction_bias", ElementType.F32, 0, 8);
            for (int expert = 0; expert < 8; expert++)
                Dense($"{name}.experts.{expert}", 32);
            Dense($"{name}.shared_experts", 32);
        }
    }
}
