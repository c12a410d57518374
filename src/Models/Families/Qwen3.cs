namespace XDeepServe.Models.Families;

/// <summary>Qwen3, dense: grouped-query attention with norms on queries and keys.</summary>
public sealed class Qwen3 : Family
{
    /// <inheritdoc/>
    public override string Name => "qwen3";

    /// <inheritdoc/>
    public override string Architecture => "Qwen3ForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""{ "sliding_window": 4096 }""");
        ModelConfig config = Keys.Decoder(reader, Name, headWidth: 128);
        bool bias = reader.Flag("attention_bias", false);
        return config with { AttentionBias = bias, OutputBias = bias, HeadNorms = true, Windows = Keys.QwenWindows(reader, config.Layers) };
    }
}
