namespace XDeepServe.Models.Families;

/// <summary>Mistral: Llama with a sliding window in every layer, where the config has one.</summary>
public sealed class Mistral : Family
{
    /// <inheritdoc/>
    public override string Name => "mistral";

    /// <inheritdoc/>
    public override string Architecture => "MistralForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "sliding_window": 4096
            }
            """);
        ModelConfig config = Keys.Decoder(reader, Name);
        return config with { Windows = Keys.Windows(reader, config.Layers, _ => true) };
    }
}
