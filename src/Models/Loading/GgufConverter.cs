using XDeepServe.Kernels;
using XDeepServe.Models.Families;

namespace XDeepServe.Models.Loading;

/// <summary>
/// Writes a checkpoint as one GGUF file that llama.cpp loads too. Vectors, routers and their biases are written in F32; the
/// latent's expansion keeps its type; all other matrices take the asked one.
/// </summary>
public sealed class GgufConverter
{
    private readonly ConversionOptions options;
    private readonly ModelConfig shape;
    private readonly GgufArchitecture architecture;
    private readonly PublishedTensors tensors;
    private readonly RowConverter rows;
    private readonly GgufWriter writer = new();
    private readonly Dictionary<(ElementType Type, int Columns), List<string>> fallbacks = []; // matrices that could not take the asked type
    private readonly int drafts; // layers for multi-token prediction that the checkpoint holds
    private long sourceBytes;
    private int count;

    private GgufConverter(PublishedTensors tensors, ModelConfig shape, ConversionOptions options, CancellationToken cancellation)
    {
        (this.tensors, this.shape, this.options) = (tensors, shape, options);
        rows = new RowConverter(options, cancellation);
        drafts = tensors.Has($"model.layers.{shape.Layers}.eh_proj.weight") ? shape.DraftLayers : 0;
        architecture = GgufArchitecture.All.FirstOrDefault(known => known.Families.Contains(shape.Family))
            ?? throw new ModelLoadException($"Models of type '{shape.Family}' cannot be written as GGUF; {string.Join(", ", GgufArchitecture.All.SelectMany(known => known.Families))} can.");
        if (shape.Family is "qwen3_moe" or "mixtral" && !shape.Experts!.Rule.Normalize)
            throw new ModelLoadException("llama.cpp always makes the chosen experts' weights sum to 1 for this architecture, but the config.json says 'norm_topk_prob': false. Keep the model in safetensors.");
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
        using PublishedTensors tensors = new(checkpoint, Family.Of(shape.Family));
        GgufConverter converter = new(tensors, shape, options, cancellation);
        GgufMetadata metadata = new(converter.writer, converter.architecture, shape, converter.drafts);
        metadata.WriteShape(options, checkpoint.Config);
        metadata.WriteTokenizer(checkpoint.LoadTokenizer());
        converter.WriteTensors();
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

    private List<string> Notes()
    {
        List<string> notes = [.. fallbacks.Select(entry =>
            $"{entry.Key.Type} for {entry.Value.Count} matrices whose rows of {entry.Key.Columns} are no whole blocks of {options.Type.Block().Values}: "
            + $"{string.Join(", ", entry.Value.Take(3))}{(entry.Value.Count > 3 ? ", …" : "")}")];
        if (shape.Windows.Any(window => window > 0))
            notes.Add($"llama.cpp does not apply the sliding window of {shape.Windows.Max()} tokens{(architecture.Name == "llama" ? "" : ", and it is not stored")}");
        return notes;
    }

    private void WriteTensors()
    {
        foreach ((string gguf, string name) in GgufArchitecture.ModelTensors)
            Copy(gguf, name);
        for (int layer = 0; layer < shape.Layers + drafts; layer++)
        {
            string prefix = $"model.layers.{layer}";
            foreach ((string gguf, string name) in architecture.LayerTensors)
                Copy($"blk.{layer}.{gguf}", $"{prefix}.{name}");
            foreach ((string gguf, string name) in GgufArchitecture.Experts)
                if (shape.Experts is { } experts && tensors.Experts($"{prefix}.mlp", name, experts) is { } parts)
                    Add($"blk.{layer}.{gguf}", [parts.Length, .. parts[0].Shape], TypeFor($"blk.{layer}.{gguf}", parts[0]), parts);
            if (shape.Latent is { } latent && tensors.TryGet($"{prefix}.self_attn.kv_b_proj.weight", out StoredTensor? expansion))
                SplitExpansion(layer, expansion, shape.Heads, latent);
        }
    }

    private void Copy(string gguf, string name)
    {
        if (!tensors.TryGet(name, out StoredTensor? tensor))
            return;
        bool plain = tensor.Shape.Length == 1 || gguf.Contains("ffn_gate_inp", StringComparison.Ordinal) || gguf.StartsWith("position_embd", StringComparison.Ordinal);
        ElementType type = plain ? ElementType.F32 : TypeFor(gguf, tensor);
        if (architecture.RotatesNeighbours && GgufArchitecture.IsRotated(name))
            AddReordered(gguf, tensor, type);
        else
            Add(gguf, tensor.Shape, type, [tensor]);
    }

    /// <summary>Queries and keys in the order of rows that llama.cpp rotates.</summary>
    private void AddReordered(string gguf, StoredTensor tensor, ElementType type)
    {
        count++;
        sourceBytes += tensor.Bytes;
        int width = shape.HeadWidth;
        writer.Add(gguf, tensor.Shape, type, stream =>
        {
            if (tensor.Shape.Length > 1)
            {
                rows.Write(stream, tensor.Rows, tensor.Columns, (row, values) => rows.Read(tensor, GgufArchitecture.PublishedRow(row, width), values), type);
                return;
            }
            float[] all = new float[tensor.Columns];
            rows.Read(tensor, 0, all);
            rows.Write(stream, 1, all.Length, (_, values) =>
            {
                for (int i = 0; i < all.Length; i++)
                    values[i] = all[GgufArchitecture.PublishedRow(i, width)];
            }, type);
        });
    }

    private ElementType TypeFor(string gguf, StoredTensor tensor)
    {
        ElementType type = Quantization.Fitting(options.Type, tensor.Columns);
        if (type != options.Type)
            fallbacks[(type, tensor.Columns)] = [.. fallbacks.GetValueOrDefault((type, tensor.Columns)) ?? [], gguf];
        return type;
    }

    private void Add(string gguf, long[] dimensions, ElementType type, StoredTensor[] sources)
    {
        count++;
        sourceBytes += sources.Sum(source => source.Bytes);
        writer.Add(gguf, dimensions, type, stream =>
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
