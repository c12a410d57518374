using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Loading;

namespace XDeepServe.Server.Tests;

/// <summary>A small dense network of random weights, made in memory: fast, and the same in every run.</summary>
internal sealed unsafe class RandomCheckpoint : Checkpoint
{
    private const int Hidden = 32;
    private const int Heads = 4;
    private const int CacheHeads = 2;
    private const int Width = 8;
    private const int Inner = 64;
    private const int LayerCount = 2;
    private readonly Dictionary<string, StoredTensor> _tensors = [];
    private readonly Random _random = new(7);

    public RandomCheckpoint(int vocabulary, int positions, int end, int labels = 0)
    {
        Config = new JsonObject
        {
            ["architectures"] = new JsonArray("Qwen3ForCausalLM"),
            ["model_type"] = "qwen3",
            ["vocab_size"] = vocabulary,
            ["hidden_size"] = Hidden,
            ["intermediate_size"] = Inner,
            ["num_hidden_layers"] = LayerCount,
            ["num_attention_heads"] = Heads,
            ["num_key_value_heads"] = CacheHeads,
            ["head_dim"] = Width,
            ["max_position_embeddings"] = positions,
            ["rms_norm_eps"] = 1e-6,
            ["rope_theta"] = 10000.0,
            ["tie_word_embeddings"] = true,
            ["attention_bias"] = false,
            ["hidden_act"] = "silu",
            ["eos_token_id"] = end,
        };
        if (labels > 0)
        {
            Config["architectures"] = new JsonArray("Qwen3ForSequenceClassification");
            Config["num_labels"] = labels;
            Add("score.weight", labels, Hidden);
        }
        Add("model.embed_tokens.weight", vocabulary, Hidden);
        Add("model.norm.weight", Hidden);
        for (int layer = 0; layer < LayerCount; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            Add(prefix + "input_layernorm.weight", Hidden);
            Add(prefix + "post_attention_layernorm.weight", Hidden);
            Add(prefix + "self_attn.q_proj.weight", Heads * Width, Hidden);
            Add(prefix + "self_attn.k_proj.weight", CacheHeads * Width, Hidden);
            Add(prefix + "self_attn.v_proj.weight", CacheHeads * Width, Hidden);
            Add(prefix + "self_attn.o_proj.weight", Hidden, Heads * Width);
            Add(prefix + "self_attn.q_norm.weight", Width);
            Add(prefix + "self_attn.k_norm.weight", Width);
            Add(prefix + "mlp.gate_proj.weight", Inner, Hidden);
            Add(prefix + "mlp.up_proj.weight", Inner, Hidden);
            Add(prefix + "mlp.down_proj.weight", Hidden, Inner);
        }
    }

    public override string Format => "memory";

    public override JsonObject Config { get; }

    public override JsonObject? GenerationConfig => null;

    public override IEnumerable<string> Names => _tensors.Keys;

    public override bool TryGet(string name, [NotNullWhen(true)] out StoredTensor? tensor) => _tensors.TryGetValue(name, out tensor);

    public override XDeepServe.Models.Text.Tokenizer? LoadTokenizer() => null;

    protected override void Release()
    {
        foreach (StoredTensor tensor in _tensors.Values)
        {
            NativeMemory.Free((void*)tensor.Address);
        }
        _tensors.Clear();
    }

    // Gains lie around one, matrices keep the size of what they multiply.
    private void Add(string name, params long[] shape)
    {
        long count = shape.Aggregate(1L, (product, length) => product * length);
        float* values = (float*)NativeMemory.Alloc((nuint)(count * sizeof(float)));
        float scale = shape.Length > 1 ? 2 / MathF.Sqrt(shape[1]) : 0.1f;
        for (long i = 0; i < count; i++)
        {
            values[i] = (shape.Length > 1 ? 0 : 1) + (scale * ((_random.NextSingle() * 2) - 1));
        }
        _tensors[name] = new StoredTensor(name, ElementType.F32, shape, (nint)values, count * sizeof(float));
    }
}
