using System.Globalization;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Loading;

/// <summary>Rebuilds Hugging Face's config.json from a GGUF file's metadata.</summary>
/// <param name="file">The file.</param>
/// <param name="architecture">Its architecture.</param>
internal sealed class GgufConfig(GgufFile file, GgufArchitecture architecture)
{
    /// <summary>The configuration.</summary>
    /// <exception cref="ModelLoadException">Something that is needed is missing, or has a wrong type.</exception>
    public JsonObject Read()
    {
        JsonObject config = [];
        foreach ((string gguf, string name) in architecture.Keys)
            if (Find(gguf) is { } value && Node(value) is { } node)
                config[name] = node;
        (string family, string className) = Family();
        (config["architectures"], config["model_type"]) = (new JsonArray(className), family);
        long layers = Layers, drafts = Integer("nextn_predict_layers", 0);
        config[family == "gpt2" ? "n_layer" : "num_hidden_layers"] = layers - drafts;
        if (file.Tensors.TryGetValue("token_embd.weight", out StoredTensor? table))
            config["vocab_size"] = table.Shape[0];
        config["tie_word_embeddings"] = !file.Tensors.ContainsKey("output.weight");
        foreach (string which in new[] { "bos", "eos" })
            if (file.Metadata.TryGetValue($"tokenizer.ggml.{which}_token_id", out object? id))
                config[$"{which}_token_id"] = Node(id);
        switch (architecture.Name)
        {
            case "deepseek2":
                config["qk_nope_head_dim"] = Integer("attention.key_length_mla") - Integer("rope.dimension_count");
                config["v_head_dim"] = Integer("attention.value_length_mla");
                config["scoring_func"] = family == "deepseek_v2" ? "softmax" : "sigmoid";
                if (Find("attention.q_lora_rank") is null)
                    config["q_lora_rank"] = null; // not compressed, whatever the family's default
                if (family == "deepseek_v2")
                    config["topk_method"] = Integer("expert_group_count", 1) > 1 ? "group_limited_greedy" : "greedy";
                break;
            case "glm4moe":
                config["use_qk_norm"] = file.Tensors.ContainsKey("blk.0.attn_q_norm.weight");
                config["attention_bias"] = file.Tensors.ContainsKey("blk.0.attn_q.bias");
                if (Find("rope.dimension_count") is not null)
                    config["partial_rotary_factor"] = (double)Integer("rope.dimension_count") / Math.Max(1, Integer("attention.key_length"));
                break;
            case "llama" or "qwen3" or "qwen3moe":
                config["attention_bias"] = file.Tensors.ContainsKey("blk.0.attn_q.bias");
                if (architecture.Name == "qwen3moe")
                    config["norm_topk_prob"] = true; // as llama.cpp runs it
                break;
        }
        if (family is "mistral" or "mixtral")
            config["sliding_window"] = Find(GgufArchitecture.WindowKey) is { } window ? Node(window) : null;
        ReadRope(config);
        return config;
    }

    /// <summary>Columns of a query or key head.</summary>
    public int HeadWidth => (int)(Find("attention.key_length") is not null ? Integer("attention.key_length")
        : Integer("embedding_length") / Math.Max(1, Integer("attention.head_count")));

    /// <summary>All layers of the file, those that draft included.</summary>
    public long Layers
    {
        get
        {
            long layers = Integer("block_count");
            return layers <= file.Tensors.Count ? layers
                : throw new ModelLoadException($"The GGUF file announces {layers} layers but holds {file.Tensors.Count} tensors; it is damaged. Fetch or convert it again.");
        }
    }

    private (string Family, string ClassName) Family() => architecture.Name switch
    {
        "llama" when Integer("expert_count", 0) > 0 => ("mixtral", "MixtralForCausalLM"),
        "llama" when Find(GgufArchitecture.WindowKey) is not null => ("mistral", "MistralForCausalLM"),
        "llama" => ("llama", "LlamaForCausalLM"),
        "qwen2" => ("qwen2", "Qwen2ForCausalLM"),
        "qwen3" => ("qwen3", "Qwen3ForCausalLM"),
        "qwen3moe" => ("qwen3_moe", "Qwen3MoeForCausalLM"),
        "glm4moe" => ("glm4_moe", "Glm4MoeForCausalLM"),
        "gpt2" => ("gpt2", "GPT2LMHeadModel"),
        _ => Integer("expert_gating_func", 2) == 1 ? ("deepseek_v2", "DeepseekV2ForCausalLM") : ("deepseek_v3", "DeepseekV3ForCausalLM"),
    };

    private void ReadRope(JsonObject config)
    {
        if (file.Tensors.TryGetValue("rope_freqs.weight", out StoredTensor? factors))
            config["rope_scaling"] = ReadFactors(factors);
        if (Find("rope.scaling.type") is not string scaling || scaling == "none")
            return;
        JsonObject rope = new() { ["rope_type"] = scaling, ["factor"] = Node(Find("rope.scaling.factor") ?? 1.0) };
        if (Find("rope.scaling.original_context_length") is { } original)
            rope["original_max_position_embeddings"] = Node(original);
        if (Find("rope.scaling.yarn_log_multiplier") is { } multiplier)
            (rope["mscale"], rope["mscale_all_dim"]) = (Scale(multiplier), Scale(multiplier));
        config["rope_scaling"] = rope;
    }

    /// <summary>Llama 3.1's stretching is stored as a factor for each wave; published models stretch by one of a few rules.</summary>
    private JsonObject ReadFactors(StoredTensor factors)
    {
        float[] stored = new float[factors.Columns];
        factors.Read(0, stored);
        double theta = Find("rope.freq_base") is double given ? given : 10_000, most = stored.Max();
        foreach (int original in new[] { 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16384, 32768 })
        {
            Llama3Config rule = new(most, 1, 4, original);
            if (GgufMetadata.WaveFactors(new RopeConfig(theta, Llama3: rule), 2 * stored.Length).Zip(stored).All(pair => Math.Abs(pair.First - pair.Second) <= 1e-4 * pair.Second))
            {
                return new JsonObject
                {
                    ["rope_type"] = "llama3",
                    ["factor"] = most,
                    ["low_freq_factor"] = 1.0,
                    ["high_freq_factor"] = 4.0,
                    ["original_max_position_embeddings"] = original,
                };
            }
        }
        throw new ModelLoadException("The GGUF file stretches its waves ('rope_freqs.weight') by a rule that is not known here. Take the model's safetensors.");
    }

    private object? Find(string key) => file.Metadata.GetValueOrDefault($"{architecture.Name}.{key}");

    private long Integer(string key, long? fallback = null) => Find(key) switch
    {
        ulong value when value <= int.MaxValue => (long)value,
        long value and >= 0 and <= int.MaxValue => value,
        null when fallback is { } given => given,
        _ => throw new ModelLoadException($"The GGUF file says nothing useful for '{architecture.Name}.{key}'. Convert the model again with a current tool."),
    };

    private static double Scale(object multiplier) => multiplier is double number ? Math.Round(number * 10, 6)
        : throw new ModelLoadException("The GGUF file's 'rope.scaling.yarn_log_multiplier' is no real number. Convert the model again with a current tool.");

    // Singles print as they were written, not with the digits that widening them brings.
    private static JsonValue? Node(object value) => value switch
    {
        ulong number => JsonValue.Create(number),
        long number => JsonValue.Create(number),
        double number when double.IsFinite(number) => JsonValue.Create(double.Parse(((float)number).ToString("R", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture)),
        bool flag => JsonValue.Create(flag),
        string text => JsonValue.Create(text),
        _ => null,
    };
}
