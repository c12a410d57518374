namespace XDeepServe.Models.Families;

/// <summary>Llama 2 and 3: grouped queries, rotation with linear, Llama 3.1's or YaRN's stretching.</summary>
public sealed class Llama : Family
{
    /// <inheritdoc/>
    public override string Name => "llama";

    /// <inheritdoc/>
    public override string Architecture => "LlamaForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
              "max_position_embeddings": 2048, "rms_norm_eps": 1e-6
            }
            """);
        bool bias = reader.Flag("attention_bias", false);
        return Keys.Decoder(reader, Name) with { AttentionBias = bias, OutputBias = bias, FeedForwardBias = reader.Flag("mlp_bias", false) };
    }
}
