using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Families;

namespace XDeepServe.Models.Loading;

/// <summary>
/// Writes a checkpoint as a folder with safetensors, config.json and the tokenizer's files. F8 and I8 are for the projections of
/// attention and feed-forward units; everything else keeps its type (blocks become BF16). Factors belong to output features, so a
/// projection that the source stores input features first (GPT-2) is turned over and takes Llama's name. In 4-byte types before 2-byte before
/// 1-byte ones, so that all values lie on multiples of their size.
/// </summary>
public sealed class SafetensorsConverter
{
    /// <summary>Names, in Llama's spelling, of a layer's projections that some family spells otherwise.</summary>
    private static readonly string[] Projections = ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"];

    /// <summary>The same of an expert's projections.</summary>
    private static readonly string[] ExpertProjections = ["gate_proj", "up_proj", "down_proj"];

    private readonly Checkpoint checkpoint;
    private readonly PublishedTensors published;
    private readonly ConversionOptions options;
    private readonly RowConverter rows;
    private readonly SafetensorsWriter writer = new();
    private readonly List<string> notes = [];
    private long sourceBytes;
    private int count;

    private SafetensorsConverter(Checkpoint checkpoint, PublishedTensors published, ConversionOptions options, CancellationToken cancellation)
    {
        this.checkpoint = checkpoint;
        this.published = published;
        this.options = options;
        rows = new RowConverter(options, cancellation);
    }

    /// <summary>Converts a model. The folder appears under its name when it is complete; nothing is left behind otherwise.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="source">Folder with the files that go along: tokenizer and generation settings.</param>
    /// <param name="folder">The folder to write.</param>
    /// <param name="overwrite">Remove a folder that is there, once the new one is complete.</param>
    /// <param name="options">What to convert to: F32, F16, BF16, F8 or I8.</param>
    /// <param name="cancellation">Stops the work.</param>
    /// <exception cref="ModelLoadException">The model cannot be written so.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static ConversionReport Convert(Checkpoint checkpoint, string source, string folder, bool overwrite, ConversionOptions options, CancellationToken cancellation = default)
    {
        if (!options.Type.IsPlain() && !options.Type.HasFactors())
            throw new ModelLoadException($"{options.Type} cannot be written to safetensors: choose F32, F16, BF16, F8 (fp8) or I8 (int8), or name a target that ends with .gguf.");
        if (!overwrite && (Directory.Exists(folder) || File.Exists(folder)))
            throw new ModelLoadException($"{folder} exists already; name another folder or remove it.");
        ModelConfig shape = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        Family family = Family.Of(shape.Family);
        using PublishedTensors published = new(checkpoint, family);
        SafetensorsConverter converter = new(checkpoint, published, options, cancellation);
        converter.AddTensors(options.Type.HasFactors() ? Spelled(family, shape) : []);
        string partial = folder + ".part";
        try
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial);
            using (FileStream stream = new(Path.Combine(partial, "model.safetensors"), FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 20))
                converter.writer.Write(stream, options.Progress);
            File.WriteAllText(Path.Combine(partial, "config.json"), converter.Config().ToJsonString(new() { WriteIndented = true }));
            if (!CompanionFiles.Copy(source, partial))
                converter.notes.Add($"{source} holds no tokenizer files: put a tokenizer.json into the new folder, or work on token ids only");
            if (Directory.Exists(folder))
                Directory.Delete(folder, recursive: true);
            Directory.Move(partial, folder);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{folder} cannot be written: {failure.Message}");
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
        long bytes = new DirectoryInfo(folder).EnumerateFiles().Sum(file => file.Length);
        return new ConversionReport(converter.count, bytes, converter.sourceBytes, converter.notes, converter.rows.LargestError, converter.rows.RelativeError);
    }

    /// <summary>Projections that files of a family spell otherwise than Llama: Llama's name, by theirs, and whether they are stored input features first.</summary>
    private static Dictionary<string, Spelling> Spelled(Family family, ModelConfig shape)
    {
        Dictionary<string, Spelling> names = new(StringComparer.Ordinal);
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            IEnumerable<string> projections = Projections.Concat(Enumerable.Range(0, shape.Experts?.Count ?? 0)
                .SelectMany(expert => ExpertProjections.Select(projection => $"mlp.experts.{expert}.{projection}")));
            foreach (string name in projections.Select(projection => $"model.layers.{layer}.{projection}.weight"))
                foreach (Spelling spelling in family.Spellings(name))
                    names[spelling.Name] = new Spelling(name, spelling.Transposed);
        }
        return names;
    }

    private void AddTensors(Dictionary<string, Spelling> spelled)
    {
        List<(StoredTensor Tensor, ElementType Type)> all = [];
        foreach (string name in checkpoint.Names.Order(StringComparer.Ordinal))
        {
            Spelling common = spelled.GetValueOrDefault(name, new Spelling(name));
            if (common.Transposed && published.TryGet(common.Name, out StoredTensor? tensor))
                tensor = tensor with { Name = common.Name };
            else if (!checkpoint.TryGet(name, out tensor))
                continue;
            all.Add((tensor, TypeFor(tensor, common.Name)));
        }
        foreach ((StoredTensor tensor, ElementType type) in all.OrderByDescending(entry => entry.Type.Bytes(1)))
        {
            count++;
            sourceBytes += tensor.Bytes;
            float[] beside = new float[type.HasFactors() ? type.Factors(tensor.Shape[0], tensor.Shape[1]) : 0];
            if (beside.Length > 0)
            {
                string name = tensor.Name[..^"weight".Length] + StoredQuantization.FactorSuffix(type);
                long across = type == ElementType.F8 ? type.FactorsOf(0, tensor.Shape[1]).Count : 1;
                writer.AddLate(name, [beside.Length / across, across], beside);
            }
            writer.Add(tensor.Name, tensor.Shape, type, stream => rows.Write(stream, tensor, type, beside));
        }
    }

    private ElementType TypeFor(StoredTensor tensor, string common)
    {
        ElementType kept = tensor.Type.IsPlain() ? tensor.Type : ElementType.BF16;
        if (options.Type.IsPlain())
            return tensor.Shape.Length > 1 ? options.Type : kept;
        bool projection = tensor.Shape.Length == 2 && common.EndsWith("_proj.weight", StringComparison.Ordinal)
            && !common.Contains("kv_b_proj", StringComparison.Ordinal) && !common.Contains("eh_proj", StringComparison.Ordinal)
            && !common.Contains("vision", StringComparison.Ordinal);
        if (!projection)
            return kept;
        if (options.Type == ElementType.I8 && tensor.Columns % ElementTypes.BlockLength != 0)
        {
            notes.Add($"{tensor.Name} is {kept}: rows of {tensor.Columns} are no multiple of {ElementTypes.BlockLength}");
            return kept;
        }
        return options.Type;
    }

    private JsonObject Config()
    {
        JsonObject config = (JsonObject)checkpoint.Config.DeepClone();
        config.Remove("quantization_config");
        if (StoredQuantization.Describe(options.Type) is { } description)
            config["quantization_config"] = description;
        if (options.Type.IsPlain())
        {
            config.Remove("dtype");
            config["torch_dtype"] = options.Type switch { ElementType.F32 => "float32", ElementType.F16 => "float16", _ => "bfloat16" };
        }
        return config;
    }
}
