namespace XDeepServe.Models.Families;

/// <summary>Mixtral: Mistral with experts in every layer.</summary>
public sealed class Mixtral : Family
{
    /// <inheritdoc/>
    public override string Name => "mixtral";

    /// <inheritdoc/>
    public override string Architecture => "MixtralForCausalLM";

    /// <inheritdoc/>
    public override ModelConfig Read(ConfigReader reader)
    {
        reader = reader.Or("""
            {
              "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
              "num_local_experts": 8, "num_experts_per_tok": 2
            }
            """);
        ModelConfig config = Keys.Decoder(reader, Name);
        return config with
        {
            Windows = Keys.Windows(reader, config.Layers, _ => true),
            Experts = Keys.Experts(reader, "intermediate_size", new HashSet<int>(), sigmoid: false),
        };
    }

    /// <inheritdoc/>
    public override IEnumerable<Spelling> Spellings(string name)
    {
        string published = name.Replace(".mlp.", ".block_sparse_moe.", StringComparison.Ordinal);
        if (published == name)
            return [];
        if (published.Contains(".experts.", StringComparison.Ordinal))
        {
            published = published.Replace(".gate_proj.", ".w1.", StringComparison.Ordinal)
                .Replace(".down_proj.", ".w2.", StringComparison.Ordinal).Replace(".up_proj.", ".w3.", StringComparison.Ordinal);
        }
        return [new Spelling(published)];
    }
}
