namespace XDeepServe.Models;

/// <summary>Widths of multi-head latent attention.</summary>
/// <param name="QueryRank">Width of the compressed query (q_lora_rank); null if queries are not compressed.</param>
/// <param name="Rank">Width of the compressed keys and values (kv_lora_rank).</param>
/// <param name="Plain">Query and key columns without rotation, per head (qk_nope_head_dim).</param>
/// <param name="Rope">Rotated columns (qk_rope_head_dim).</param>
/// <param name="Value">Value columns per head (v_head_dim).</param>
/// <param name="Interleaved">Whether rotation pairs neighbours (2i, 2i + 1).</param>
public sealed record LatentConfig(int? QueryRank, int Rank, int Plain, int Rope, int Value, bool Interleaved);
