namespace XDeepServe.Models.Families;

/// <summary>Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.</summary>
public sealed class Qwen2 : Family
{
    /// <inheritdoc/>
    public override string Name => "qwen2";

    /// <inheritdoc/>
    public override string Architecture => "Qwen2ForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 32, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "sliding_window": 4096
            }
            """);
        ModelConfig config = Keys.Decoder(reader, Name);
        return config with { AttentionBias = true, Windows = Keys.QwenWindows(reader, config.Layers) };
    }
}
