using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Loading;

/// <summary>
/// Writes a checkpoint as one GGUF file that llama.cpp loads too. Vectors, routers and their biases are written in F32; the
/// latent's expansion keeps its type; all other matrices take the asked one.
/// </summary>
public sealed class GgufConverter
{
    private readonly Checkpoint checkpoint;
    private readonly ConversionOptions options;
    private readonly RowConverter rows;
    private readonly JsonObject config;
    private readonly GgufArchitecture architecture;
    private readonly GgufWriter writer = new();
    private readonly Dictionary<(ElementType Type, int Columns), List<string>> fallbacks = []; // matrices that could not take the asked type
    private long sourceBytes;
    private int count;

    private GgufConverter(Checkpoint checkpoint, ConversionOptions options, CancellationToken cancellation)
    {
        this.checkpoint = checkpoint;
        this.options = options;
        rows = new RowConverter(options, cancellation);
        config = checkpoint.Config;
        string type = (string?)config["model_type"] ?? "?";
        architecture = GgufArchitecture.All.FirstOrDefault(known => known.ModelType == type)
            ?? throw new ModelLoadException($"Models of type '{type}' cannot be written as GGUF; {string.Join(" and ", GgufArchitecture.All.Select(known => known.ModelType))} can.");
    }

    /// <summary>Converts a model. The file appears under its name when it is complete; nothing is left behind otherwise.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="path">The file to write.</param>
    /// <param name="options">What to convert to: F32, F16, BF16, Q8_0, Q4_0, Q5_0 or Q4_K.</param>
    /// <param name="cancellation">Stops the work.</param>
    /// <exception cref="ModelLoadException">The model cannot be written so.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static ConversionReport Convert(Checkpoint checkpoint, string path, ConversionOptions options, CancellationToken cancellation = default)
    {
        if (!GgufFile.Types.Values.Contains(options.Type) || !Quantization.CanStore(options.Type))
            throw new ModelLoadException($"{options.Type} cannot be written to a GGUF file: choose F32, F16, BF16, Q8_0, Q4_K, Q5_0 or Q4_0, or name a folder to write safetensors.");
        ModelConfig shape = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        GgufConverter converter = new(checkpoint, options, cancellation);
        converter.WriteMetadata(options.Name, shape);
        converter.WriteTensors(shape);
        string partial = path + ".part";
        try
        {
            using (FileStream stream = new(partial, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
                converter.writer.Write(stream, options.Progress);
            File.Move(partial, path, overwrite: true);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{path} cannot be written: {failure.Message}");
        }
        finally
        {
            File.Delete(partial); // is gone if all went well
        }
        return new ConversionReport(
            converter.count, new FileInfo(path).Length, converter.sourceBytes, converter.Notes(), converter.rows.LargestError, converter.rows.RelativeError);
    }

    private List<string> Notes() =>
        [.. fallbacks.Select(entry => $"{entry.Key.Type} for {entry.Value.Count} matrices whose rows of {entry.Key.Columns} are no whole blocks of {options.Type.Block().Values}: {string.Join(", ", entry.Value.Take(3))}{(entry.Value.Count > 3 ? ", …" : "")}")];

    private void WriteMetadata(string name, ModelConfig shape)
    {
        string prefix = architecture.Name;
        writer.Add("general.architecture", prefix);
        writer.Add("general.name", name);
        writer.Add("general.file_type", options.Type switch { ElementType.F32 => 0u, ElementType.F16 => 1u, ElementType.Q4_0 => 2u, ElementType.Q8_0 => 7u, ElementType.Q5_0 => 8u, ElementType.Q4_K => 14u, _ => 32u });
        writer.Add("general.quantization_version", 2u);
        writer.Add($"{prefix}.block_count", (uint)(shape.Layers + Drafts(shape)));
        foreach ((string gguf, string key) in architecture.Keys)
        {
            JsonNode? value = key == "rope_theta" ? JsonValue.Create(shape.Rope.Theta) : config[key];
            if (key == "num_nextn_predict_layers")
                value = Drafts(shape) == 0 ? null : JsonValue.Create(Drafts(shape));
            switch (value?.GetValueKind())
            {
                case System.Text.Json.JsonValueKind.True or System.Text.Json.JsonValueKind.False:
                    writer.Add($"{prefix}.{gguf}", value.GetValue<bool>());
                    break;
                case System.Text.Json.JsonValueKind.Number when gguf.EndsWith("epsilon", StringComparison.Ordinal) || gguf.EndsWith("freq_base", StringComparison.Ordinal) || gguf.EndsWith("scale", StringComparison.Ordinal):
                    writer.Add($"{prefix}.{gguf}", float.Parse(value.ToJsonString(), System.Globalization.CultureInfo.InvariantCulture));
                    break;
                case System.Text.Json.JsonValueKind.Number:
                    writer.Add($"{prefix}.{gguf}", uint.Parse(value.ToJsonString(), System.Globalization.CultureInfo.InvariantCulture));
                    break;
            }
        }
        if (shape.Latent is { } latent)
        {
            // llama.cpp runs latent attention as attention with a single, wide key head.
            writer.Add($"{prefix}.attention.head_count_kv", 1u);
            writer.Add($"{prefix}.attention.key_length", (uint)(latent.Rank + latent.Rope));
            writer.Add($"{prefix}.attention.value_length", (uint)latent.Rank);
            writer.Add($"{prefix}.attention.key_length_mla", (uint)(latent.Plain + latent.Rope));
            writer.Add($"{prefix}.attention.value_length_mla", (uint)latent.Value);
            writer.Add($"{prefix}.expert_gating_func", 2u);
        }
        WriteRope(prefix, shape);
        WriteTokenizer();
    }

    private void WriteRope(string prefix, ModelConfig shape)
    {
        JsonObject? rope = (config["rope_scaling"] ?? config["rope_parameters"]) as JsonObject;
        if (shape.Rope.Yarn is null || rope is null)
            return;
        float Real(string key, float fallback) => rope[key] is { } value ? float.Parse(value.ToJsonString(), System.Globalization.CultureInfo.InvariantCulture) : fallback;
        writer.Add($"{prefix}.rope.scaling.type", "yarn");
        writer.Add($"{prefix}.rope.scaling.factor", Real("factor", 1));
        writer.Add($"{prefix}.rope.scaling.original_context_length", (uint)Real("original_max_position_embeddings", shape.MaxPositions));
        if (rope["mscale_all_dim"] is not null)
            writer.Add($"{prefix}.rope.scaling.yarn_log_multiplier", Real("mscale_all_dim", 0) / 10);
    }

    private void WriteTokenizer()
    {
        if (checkpoint.LoadTokenizer() is not { } tokenizer)
        {
            writer.Add("tokenizer.ggml.model", "no_vocab"); // llama.cpp's word for "ids only"
            return;
        }
        GgufTokenizer tables = tokenizer.ToGguf();
        writer.Add("tokenizer.ggml.model", tables.Kind);
        writer.Add("tokenizer.ggml.pre", tables.Kind == GgufTokenizer.ByteLevel ? tables.Pre : "default");
        writer.Add("tokenizer.ggml.tokens", tables.Tokens);
        writer.Add("tokenizer.ggml.token_type", tables.Types);
        if (tables.Kind == GgufTokenizer.ByteLevel)
        {
            writer.Add("tokenizer.ggml.merges", tables.Merges);
        }
        else
        {
            writer.Add("tokenizer.ggml.scores", tables.Scores);
            writer.Add("tokenizer.ggml.add_space_prefix", tables.AddSpace);
        }
        if (tables.BosId is { } bos)
            writer.Add("tokenizer.ggml.bos_token_id", (uint)bos);
        if (tables.EosId is { } eos)
            writer.Add("tokenizer.ggml.eos_token_id", (uint)eos);
        writer.Add("tokenizer.ggml.add_bos_token", tables.AddBos);
        if (tables.ChatTemplate is { } template)
            writer.Add("tokenizer.chat_template", template);
    }

    private void WriteTensors(ModelConfig shape)
    {
        foreach ((string gguf, string name) in GgufArchitecture.ModelTensors)
            Copy(gguf, name);
        for (int layer = 0; layer < shape.Layers + Drafts(shape); layer++)
        {
            foreach ((string gguf, string name) in architecture.LayerTensors)
                Copy($"blk.{layer}.{gguf}", $"model.layers.{layer}.{name}");
            if (shape.Experts is { } experts)
                foreach ((string gguf, string name) in GgufArchitecture.Experts)
                    Merge($"blk.{layer}.{gguf}", [.. Enumerable.Range(0, experts.Count).Select(expert => $"model.layers.{layer}.mlp.experts.{expert}.{name}")]);
            if (shape.Latent is { } latent && checkpoint.TryGet($"model.layers.{layer}.self_attn.kv_b_proj.weight", out StoredTensor? expansion))
                SplitExpansion(layer, expansion, shape.Heads, latent);
        }
    }

    /// <summary>Draft layers, if the checkpoint holds them.</summary>
    private int Drafts(ModelConfig shape) => checkpoint.Has($"model.layers.{shape.Layers}.eh_proj.weight") ? shape.DraftLayers : 0;

    private void Copy(string gguf, string name)
    {
        if (!checkpoint.TryGet(name, out StoredTensor? tensor))
            return;
        bool plain = tensor.Shape.Length == 1 || gguf.Contains("ffn_gate_inp", StringComparison.Ordinal);
        Add(gguf, tensor.Shape, plain ? ElementType.F32 : TypeFor(gguf, tensor), [tensor]);
    }

    private void Merge(string gguf, string[] names)
    {
        if (!checkpoint.TryGet(names[0], out StoredTensor? first))
            return;
        StoredTensor[] experts = [.. names.Select(name => checkpoint.Get(name, first.Shape))];
        Add(gguf, [names.Length, .. first.Shape], TypeFor(gguf, first), experts);
    }

    private ElementType TypeFor(string gguf, StoredTensor tensor)
    {
        ElementType type = Quantization.Fitting(options.Type, tensor.Columns);
        if (type != options.Type)
            fallbacks[(type, tensor.Columns)] = [.. fallbacks.GetValueOrDefault((type, tensor.Columns)) ?? [], gguf];
        return type;
    }

    private void Add(string gguf, long[] shape, ElementType type, StoredTensor[] sources)
    {
        count++;
        sourceBytes += sources.Sum(source => source.Bytes);
        writer.Add(gguf, shape, type, stream =>
        {
            foreach (StoredTensor source in sources)
                rows.Write(stream, source, type);
        });
    }

    /// <summary>kv_b [heads · (plain + value), rank] becomes k_b [heads, rank, plain] and v_b [heads, value, rank].</summary>
    private void SplitExpansion(int layer, StoredTensor expansion, int heads, LatentConfig latent)
    {
        int per = latent.Plain + latent.Value;
        ElementType type = expansion.Type.IsPlain() ? expansion.Type : ElementType.F32;
        count += 2;
        sourceBytes += expansion.Bytes;
        writer.Add($"blk.{layer}.attn_k_b.weight", [heads, latent.Rank, latent.Plain], type, stream =>
        {
            // One head's keys at a time, so that a column can be picked from them.
            float[] keys = new float[latent.Plain * latent.Rank];
            for (int head = 0; head < heads; head++)
            {
                for (int i = 0; i < latent.Plain; i++)
                    rows.Read(expansion, head * per + i, keys.AsSpan(i * latent.Rank, latent.Rank));
                rows.Write(stream, latent.Rank, latent.Plain, (column, values) =>
                {
                    for (int i = 0; i < latent.Plain; i++)
                        values[i] = keys[i * latent.Rank + column];
                }, type);
            }
        });
        writer.Add($"blk.{layer}.attn_v_b.weight", [heads, latent.Value, latent.Rank], type, stream => rows.Write(
            stream, heads * latent.Value, latent.Rank, (row, values) => rows.Read(expansion, row / latent.Value * per + latent.Plain + row % latent.Value, values), type));
    }
}
