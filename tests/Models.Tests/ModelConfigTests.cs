using System.Text.Json.Nodes;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests;

public class ModelConfigTests
{
    [Fact]
    public void Reads_deepseek_v3()
    {
        var config = ModelConfig.Read(TinyModel.DeepSeekConfig(), JsonNode.Parse("""{"eos_token_id": [3, 4]}""")!.AsObject());
        Assert.Equal("deepseek_v3", config.Family);
        Assert.Equal(new LatentConfig(32, 32, 16, 8, 16, true), config.Latent);
        Assert.Equal(8, config.Experts!.Count);
        Assert.Equal(2, config.Experts.Rule.TopK);
        Assert.Equal([2, 3, 4], config.EosIds);
        Assert.Equal(1, config.BosId);
        Assert.Null(config.Rope.Yarn);
    }

    [Fact]
    public void Reads_both_spellings_of_rope()
    {
        JsonObject old = TinyModel.Qwen3Config();
        old["rope_theta"] = 50_000;
        old["rope_scaling"] = JsonNode.Parse("""{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}""");
        JsonObject recent = TinyModel.Qwen3Config();
        recent.Remove("rope_theta");
        recent["rope_parameters"] = JsonNode.Parse(
            """{"rope_type": "yarn", "rope_theta": 50000.0, "factor": 4, "original_max_position_embeddings": 256}""");
        Assert.Equal(ModelConfig.Read(old).Rope, ModelConfig.Read(recent).Rope);
        Assert.Equal(50_000, ModelConfig.Read(recent).Rope.Theta);
        Assert.Equal(1024, ModelConfig.Read(recent).MaxPositions);
    }

    [Fact]
    public void Model_type_stands_in_for_architectures()
    {
        JsonObject config = TinyModel.Qwen3Config();
        config.Remove("architectures");
        Assert.Equal("qwen3", ModelConfig.Read(config).Family);
    }

    [Fact]
    public void An_unknown_architecture_is_told_what_is_supported()
    {
        JsonObject config = TinyModel.Qwen3Config();
        config["architectures"] = new JsonArray("MambaForCausalLM");
        string message = Assert.Throws<ModelLoadException>(() => ModelConfig.Read(config)).Message;
        Assert.Contains("MambaForCausalLM", message, StringComparison.Ordinal);
        Assert.Contains("DeepseekV3ForCausalLM", message, StringComparison.Ordinal);
        Assert.Contains("Qwen3ForCausalLM", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hidden_size", null)]
    [InlineData("hidden_size", "0")]
    [InlineData("hidden_size", "-64")]
    [InlineData("hidden_size", "64.5")]
    [InlineData("hidden_size", "\"64\"")]
    [InlineData("hidden_size", "1e300")]
    [InlineData("vocab_size", null)]
    [InlineData("vocab_size", "99999999999")]
    [InlineData("num_hidden_layers", "0")]
    [InlineData("num_hidden_layers", "[2]")]
    [InlineData("num_attention_heads", "-1")]
    [InlineData("max_position_embeddings", "0")]
    [InlineData("intermediate_size", null)]
    [InlineData("kv_lora_rank", null)]
    [InlineData("kv_lora_rank", "0")]
    [InlineData("q_lora_rank", "-1")]
    [InlineData("qk_rope_head_dim", "7")]
    [InlineData("v_head_dim", null)]
    [InlineData("n_routed_experts", null)]
    [InlineData("n_routed_experts", "9")]
    [InlineData("n_group", "8")]
    [InlineData("n_group", "0")]
    [InlineData("topk_group", "5")]
    [InlineData("num_experts_per_tok", "9")]
    [InlineData("num_experts_per_tok", "5")]
    [InlineData("first_k_dense_replace", "3")]
    [InlineData("moe_intermediate_size", null)]
    [InlineData("moe_layer_freq", "2")]
    [InlineData("n_shared_experts", "-1")]
    [InlineData("scoring_func", "\"softmax\"")]
    [InlineData("topk_method", "\"greedy\"")]
    [InlineData("hidden_act", "\"gelu\"")]
    [InlineData("rms_norm_eps", "-1")]
    [InlineData("rms_norm_eps", "\"small\"")]
    [InlineData("attention_bias", "\"no\"")]
    [InlineData("rope_theta", "0")]
    [InlineData("rope_scaling", "3")]
    [InlineData("rope_scaling", "{\"type\": \"longrope\"}", "type")]
    [InlineData("rope_scaling", "{\"type\": \"yarn\", \"factor\": -2}", "factor")]
    [InlineData("rope_scaling", "{\"type\": \"yarn\", \"factor\": 2, \"beta_fast\": 1, \"beta_slow\": 2}", "beta_fast")]
    [InlineData("quantization_config", "{\"quant_method\": \"fp8\"}")]
    [InlineData("quantization_config", "{\"quant_method\": \"awq\", \"bits\": 4}")]
    [InlineData("quantization_config", "7")]
    [InlineData("architectures", "\"DeepseekV3ForCausalLM\"")]
    [InlineData("eos_token_id", "\"</s>\"")]
    [InlineData("eos_token_id", "96")]
    [InlineData("eos_token_id", "[null]")]
    [InlineData("bos_token_id", "-1")]
    public void A_bad_deepseek_key_is_named(string key, string? json, string? named = null) =>
        Refuses(TinyModel.DeepSeekConfig(), key, json, named);

    [Theory]
    [InlineData("num_key_value_heads", "3")]
    [InlineData("num_key_value_heads", "8")]
    [InlineData("head_dim", "31")]
    [InlineData("head_dim", "0")]
    [InlineData("rope_parameters", "[]")]
    public void A_bad_qwen3_key_is_named(string key, string? json, string? named = null) =>
        Refuses(TinyModel.Qwen3Config(), key, json, named);

    private static void Refuses(JsonObject config, string key, string? json, string? named)
    {
        config.Remove(key);
        if (json is not null)
            config[key] = JsonNode.Parse(json);
        string message = Assert.Throws<ModelLoadException>(() => ModelConfig.Read(config)).Message;
        Assert.Contains(named ?? key, message, StringComparison.Ordinal);
        Assert.Contains("config.json", message, StringComparison.Ordinal);
    }
}
