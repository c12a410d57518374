using System.Text.Json.Nodes;

namespace XDeepServe.Models.Tests;

/// <summary>Configurations as they are published: older spellings, keys that are missing.</summary>
public class PublishedConfigTests
{
    [Fact]
    public void Llava_names_only_what_differs_from_vicuna()
    {
        ModelConfig config = Read("""
            {
              "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000, "model_type": "llava", "pad_token_id": 32001,
              "projector_hidden_act": "gelu", "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
              "max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05, "torch_dtype": "float16", "vocab_size": 32064},
              "tie_word_embeddings": false, "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
              "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
              "vocab_size": 32000}, "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064
            }
            """);
        Assert.Equal((4096, 11008, 32, 32, 32, 128), (config.HiddenSize, config.FeedForwardSize, config.Layers, config.Heads, config.KeyValueHeads, config.HeadWidth));
        Assert.Equal((576, 23, 32000, "llama"), (config.Images!.Rows, config.Images.Layers, config.Images.TokenId, config.Images.TextFamily));
    }

    [Fact]
    public void Gpt2_has_its_own_keys()
    {
        ModelConfig config = Read("""
            {
              "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "bos_token_id": 50256, "eos_token_id": 50256,
              "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257
            }
            """);
        Assert.Equal((768, 3072, 12, 12, 1024, true), (config.HiddenSize, config.FeedForwardSize, config.Layers, config.Heads, config.MaxPositions, config.TiedEmbeddings));
    }

    [Fact]
    public void Mistral_has_a_window_unless_it_is_null()
    {
        Assert.All(Read("""{"model_type": "mistral"}""").Windows, window => Assert.Equal(4096, window));
        Assert.Empty(Read("""{"model_type": "mistral", "sliding_window": null}""").Windows);
        Assert.Equal(8, Read("""{"model_type": "mistral"}""").KeyValueHeads);
        Assert.Equal(32, Read("""{"model_type": "mistral", "num_key_value_heads": null}""").KeyValueHeads);
    }

    [Fact]
    public void Qwen_switches_windows_on_layer_by_layer()
    {
        const string Few = """{"model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 100, "max_window_layers": 3""";
        Assert.Empty(Read(Few + "}").Windows);
        Assert.Equal([0, 0, 0, 100], Read(Few + """, "use_sliding_window": true}""").Windows);
        Assert.Equal([100, 0, 100, 0], Read(Few + """
            , "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]}
            """).Windows);
    }

    [Theory]
    [InlineData("num_experts")]
    [InlineData("num_local_experts")]
    [InlineData("n_routed_experts")]
    public void The_number_of_experts_has_three_names(string key) =>
        Assert.Equal(24, Read($$"""{"model_type": "qwen3_moe", "{{key}}": 24}""").Experts!.Count);

    [Fact]
    public void Rotation_is_read_in_both_spellings_and_every_kind()
    {
        const string Llama3 = """
            "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192
            """;
        RopeConfig old = Read($$"""{"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": {"type": "llama3", {{Llama3}} } }""").Rope;
        RopeConfig recent = Read($$"""{"model_type": "llama", "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", {{Llama3}} } }""").Rope;
        Assert.Equal(old, recent);
        Assert.Equal(new Llama3Config(8, 1, 4, 8192), old.Llama3);
        float[] plain = Layers.RopeTable.Frequencies(new RopeConfig(10_000), 64);
        float[] linear = Layers.RopeTable.Frequencies(Read("""{"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}}""").Rope, 64);
        for (int i = 0; i < plain.Length; i++)
            Assert.Equal(plain[i] / 4, linear[i], 1e-9f);
        Assert.Equal(new RopeConfig(10_000), Read("""{"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 4.0}}""").Rope);
    }

    [Fact]
    public void Kimi_k2_is_deepseek_v3()
    {
        JsonObject config = TinyModel.DeepSeekConfig();
        config.Remove("architectures");
        config["model_type"] = "kimi_k2";
        Assert.Equal("deepseek_v3", ModelConfig.Read(config).Family);
    }

    [Fact]
    public void Deepseek_v2_spells_the_plain_method_in_two_ways()
    {
        foreach (string method in (string[])["greedy", "gready"])
        {
            ModelConfig config = Read($$"""
                {"model_type": "deepseek_v2", "q_lora_rank": null, "num_experts_per_tok": 6, "topk_method": "{{method}}", "n_group": 8, "topk_group": 3}
                """);
            Assert.Equal((1, 6, false, null), (config.Experts!.Rule.Groups, config.Experts.Rule.TopK, config.Experts.Rule.Sigmoid, config.Latent!.QueryRank));
        }
    }

    private static ModelConfig Read(string json) => ModelConfig.Read(JsonNode.Parse(json)!.AsObject());
}
