using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using TorchSharp;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Kernels;
using XDeepServe.Models;
using XDeepServe.Models.Families;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace XDeepServe.Training.Running;

/// <summary>The model that training begins with, and the folder that it ends in. Owns the checkpoint.</summary>
public sealed class BaseModel : IDisposable
{
    private const double NewHead = 0.02;     // deviation of a new score head, as Hugging Face's initializer_range
    private const double NewMatrix = 0.55;    // of a new matrix, times √width: that is 0.02 at a width of 768
    private const double NewPositions = 0.5;  // of an image's new positions, which would drown beside patches if they were smaller

    private readonly string path;
    private readonly Checkpoint checkpoint;
    private readonly PromptWriter? writer;
    private readonly byte[]? tokenizerFile; // with the token that was added
    private readonly int storedVocabulary;

    /// <summary>Opens a model.</summary>
    /// <param name="path">A Hugging Face folder or a GGUF file.</param>
    /// <param name="scratch">Whether weights are not wanted.</param>
    /// <param name="token">A special token that it must know: one that it lacks is added to its tokenizer and its embeddings.</param>
    /// <exception cref="ModelLoadException">It cannot be read.</exception>
    /// <exception cref="TrainingException">It cannot be trained, or has no tokenizer.</exception>
    public BaseModel(string path, bool scratch = false, string? token = null)
    {
        this.path = path;
        checkpoint = Checkpoint.Open(path, scratch ? LoadFormat.Dummy : LoadFormat.Auto);
        try
        {
            Shape = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
            Decoder.Check(Shape);
            storedVocabulary = Shape.VocabularySize;
            if (checkpoint.LoadTokenizer() is { } tokenizer)
            {
                ChatTemplate? template = tokenizer.CreateTemplate();
                if (token is not null && !tokenizer.TryGetId(token, out _))
                {
                    (tokenizer, tokenizerFile) = GrownTokenizer.Of(Beside, tokenizer, token);
                    Shape = Shape with { VocabularySize = Math.Max(storedVocabulary, tokenizer.VocabularySize) };
                }
                writer = new PromptWriter(tokenizer, template, Shape.Images is { } images ? new ImageInput(images, ImageProcessor.Read(checkpoint.PreprocessorConfig, images), tokenizer, template) : null);
            }
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Its shape.</summary>
    public ModelConfig Shape { get; }

    /// <summary>Tokenizer and template.</summary>
    public PromptWriter Writer => writer ?? throw new TrainingException($"{path} holds no tokenizer; put a tokenizer.json into the folder.");

    /// <summary>Loads the weights in float32.</summary>
    /// <param name="scoring">The score head in place of the output matrix; one that is not there is drawn anew.</param>
    /// <param name="adapters">Low-rank adapters to draw; null for none.</param>
    /// <param name="scratch">Whether to draw every weight.</param>
    /// <param name="seed">Of what is drawn.</param>
    /// <returns>Tensors on the CPU by name; they become the caller's.</returns>
    public Dictionary<string, Tensor> Load(ScoreHead scoring, LoraSettings? adapters, bool scratch, int seed)
    {
        Dictionary<string, Tensor> weights = new(StringComparer.Ordinal);
        using Generator random = new((ulong)seed, torch.CPU), adapterRandom = new((ulong)seed + 1, torch.CPU); // weights are the same with adapters and without
        foreach ((string name, long[] shape) in Published(scoring))
        {
            weights[name] = !scratch && checkpoint.Has(Stored(name)) ? Read(name, shape)
                : shape.Length == 1 && !name.EndsWith("class_embedding", StringComparison.Ordinal) ? (name.EndsWith(".bias", StringComparison.Ordinal) ? zeros(shape) : ones(shape))
                : scratch || name == BradleyTerry.Head ? randn(shape, generator: random).mul_(Deviation(name, shape))
                : Read(name, shape);
            if (adapters?.Takes(name) != true || !name.StartsWith("model.", StringComparison.Ordinal))
                continue;
            string projection = name[..^".weight".Length];
            weights[projection + LoraSettings.Down] = rand([adapters.Rank, shape[1]], generator: adapterRandom).mul_(2).sub_(1).div_(Math.Sqrt(shape[1]));
            weights[projection + LoraSettings.Up] = zeros(shape[0], adapters.Rank);
        }
        foreach (Tensor weight in weights.Values)
            weight.DetachFromDisposeScope();
        return weights;
    }

    private static double Deviation(string name, long[] shape) => name == BradleyTerry.Head ? NewHead
        : name.EndsWith("position_embedding.weight", StringComparison.Ordinal) ? NewPositions
        : NewMatrix / Math.Sqrt(shape[1..].Aggregate(1L, (product, length) => product * length));

    /// <summary>Writes the model as the engine serves it: adapters are added to their projections.</summary>
    /// <param name="folder">A folder that exists and is empty.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="scoring">The score head, if it has one.</param>
    /// <param name="adapters">Adapters among the weights; null for none.</param>
    /// <param name="create">Makes a file.</param>
    public void Save(string folder, TrainedWeights weights, ScoreHead scoring, LoraSettings? adapters, Func<string, Stream> create)
    {
        ElementType type = weights.Type == ScalarType.BFloat16 ? ElementType.BF16 : ElementType.F32;
        SafetensorsWriter writer = new();
        foreach ((string name, long[] shape) in Published(scoring))
            writer.Add(Spelled(name), shape, type, stream => Write(stream, name));
        foreach ((string name, StoredTensor tensor) in Unused())
            writer.Add(name, tensor.Shape, tensor.Type, tensor.CopyTo);
        using (Stream stream = create(Path.Combine(folder, "model.safetensors")))
            writer.Write(stream, progress: null);
        File.WriteAllText(Path.Combine(folder, "config.json"), Config(scoring, type).ToJsonString(new() { WriteIndented = true }));
        CompanionFiles.Copy(Beside, folder);
        if (tokenizerFile is not null)
            File.WriteAllBytes(Path.Combine(folder, GrownTokenizer.Name), tokenizerFile);

        void Write(Stream stream, string name)
        {
            using DisposeScope scope = NewDisposeScope();
            using IDisposable unrecorded = no_grad();
            Tensor values = weights[name];
            string projection = name.EndsWith(".weight", StringComparison.Ordinal) ? name[..^".weight".Length] : name;
            if (adapters is not null && weights.TryGet(projection + LoraSettings.Up) is { } up)
                values = (values.to(ScalarType.Float32) + up.to(ScalarType.Float32).matmul(weights[projection + LoraSettings.Down].to(ScalarType.Float32)) * adapters.Scale).to(weights.Type);
            stream.Write(values.cpu().contiguous().bytes);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => checkpoint.Dispose();

    // Of the vision transformer the text model may see an early layer; those behind it go from file to file as they are, because config.json counts them.
    private IEnumerable<(string Name, StoredTensor Tensor)> Unused()
    {
        if (Shape.Images is null)
            yield break;
        HashSet<string> used = [.. Published(ScoreHead.None).Select(weight => Stored(weight.Name))];
        foreach (string name in checkpoint.Names.Where(name => name.Contains(VisionTower.Tower, StringComparison.Ordinal) && !used.Contains(name)))
            if (checkpoint.TryGet(name, out StoredTensor? tensor) && tensor.Type.IsPlain())
                yield return (Spelled(VisionTower.Tower + name[(name.IndexOf(VisionTower.Tower, StringComparison.Ordinal) + VisionTower.Tower.Length)..].Replace("vision_model.", "", StringComparison.Ordinal)), tensor);
    }

    private JsonObject Config(ScoreHead scoring, ElementType type)
    {
        bool scores = scoring != ScoreHead.None;
        JsonObject config = (JsonObject)checkpoint.Config.DeepClone();
        Family family = Family.Of(Shape.Family);
        config.Remove("quantization_config");
        config.Remove("dtype");
        config["architectures"] = new JsonArray(scores ? family.Scoring : family.Architecture);
        config["torch_dtype"] = type == ElementType.BF16 ? "bfloat16" : "float32";
        (config["text_config"] as JsonObject ?? config)["vocab_size"] = Shape.VocabularySize;
        config["tie_word_embeddings"] = Tied; // with a score head there is no output matrix, and what was lost is not to be taken for the embeddings
        config["text_config"]?.AsObject().Remove("tie_word_embeddings");
        if (scores)
        {
            string label = scoring == ScoreHead.Biased ? PreferenceRewardModel.Label : "reward";
            config["id2label"] = new JsonObject { ["0"] = label };
            config["label2id"] = new JsonObject { [label] = 0 };
        }
        else
        {
            config.Remove("id2label");
            config.Remove("label2id");
        }
        return config;
    }

    private string Beside => Directory.Exists(path) ? path : Path.GetDirectoryName(Path.GetFullPath(path))!;

    private bool Tied => Shape.TiedEmbeddings ?? !checkpoint.Has(Stored("lm_head.weight"));

    // As the model's files spell it; its own name if they do not hold it.
    private string Stored(string name) =>
        checkpoint.Has(name) ? name : Family.Of(Shape.Family).Spellings(name).Select(spelling => spelling.Name).FirstOrDefault(checkpoint.Has, name);

    // As Hugging Face's files spell the parts of LLaVA.
    private string Spelled(string name) => Shape.Images is null || name is BradleyTerry.Head or Representing.Bias || name.StartsWith(VisionTower.Projector, StringComparison.Ordinal)
        ? name
        : Family.Of(Shape.Family).Spellings(name).First().Name;

    /// <summary>Names and shapes of the weights that a model's files hold.</summary>
    private IEnumerable<(string Name, long[] Shape)> Published(ScoreHead scoring)
    {
        long hidden = Shape.HiddenSize, inner = Shape.FeedForwardSize, queries = Shape.Heads * Shape.HeadWidth, keys = Shape.KeyValueHeads * Shape.HeadWidth;
        foreach ((string, long[]) weight in Shape.Images is { } images ? VisionTower.Names(images, hidden) : [])
            yield return weight;
        yield return ("model.embed_tokens.weight", [Shape.VocabularySize, hidden]);
        for (int layer = 0; layer < Shape.Layers; layer++)
        {
            string name = $"model.layers.{layer}.";
            yield return (name + "input_layernorm.weight", [hidden]);
            foreach ((string projection, long rows, long columns, bool bias) in new (string, long, long, bool)[]
            {
                ("self_attn.q_proj", queries, hidden, Shape.AttentionBias), ("self_attn.k_proj", keys, hidden, Shape.AttentionBias),
                ("self_attn.v_proj", keys, hidden, Shape.AttentionBias), ("self_attn.o_proj", hidden, queries, Shape.OutputBias),
                ("mlp.gate_proj", inner, hidden, Shape.FeedForwardBias), ("mlp.up_proj", inner, hidden, Shape.FeedForwardBias),
                ("mlp.down_proj", hidden, inner, Shape.FeedForwardBias),
            })
            {
                yield return ($"{name}{projection}.weight", [rows, columns]);
                if (bias)
                    yield return ($"{name}{projection}.bias", [rows]);
            }
            if (Shape.HeadNorms)
            {
                yield return (name + "self_attn.q_norm.weight", [Shape.HeadWidth]);
                yield return (name + "self_attn.k_norm.weight", [Shape.HeadWidth]);
            }
            yield return (name + "post_attention_layernorm.weight", [hidden]);
        }
        yield return ("model.norm.weight", [hidden]);
        if (scoring != ScoreHead.None)
            yield return (BradleyTerry.Head, [1, hidden]);
        if (scoring == ScoreHead.Biased)
            yield return (Representing.Bias, [1]);
        if (scoring == ScoreHead.None && !Tied)
            yield return ("lm_head.weight", [Shape.VocabularySize, hidden]);
    }

    private Tensor Read(string name, long[] shape)
    {
        if (Shape.VocabularySize > storedVocabulary && name is "model.embed_tokens.weight" or "lm_head.weight")
            return Grown(name, shape);
        return ReadStored(name, shape);
    }

    // Rows of new tokens begin as the mean of the others.
    private Tensor Grown(string name, long[] shape)
    {
        using Tensor stored = ReadStored(name, [storedVocabulary, shape[1]]), mean = stored.mean([0], keepdim: true);
        using Tensor rows = mean.expand(shape[0] - storedVocabulary, shape[1]);
        return cat([stored, rows]);
    }

    private Tensor ReadStored(string name, long[] shape)
    {
        StoredTensor stored = checkpoint.Get(Stored(name), shape);
        Tensor values = empty(shape, dtype: ScalarType.Float32);
        Span<float> all = MemoryMarshal.Cast<byte, float>(values.bytes);
        for (int row = 0; row < stored.Rows; row++)
            stored.Read(row, all.Slice(row * stored.Columns, stored.Columns));
        return values;
    }
}
