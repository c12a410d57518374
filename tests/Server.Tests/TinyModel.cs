using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Server.Tests;

/// <summary>A tiny random model with a tokenizer of one token per byte and the engine that runs it.</summary>
internal sealed class TinyModel : IDisposable
{
    public const int Start = 256;
    public const int End = 257;
    public const int Vocabulary = 258;
    public const int Image = 258; // only where the model takes images

    private const string Template =
        "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

    private readonly Checkpoint _checkpoint;
    private readonly CpuBackend _backend;
    private readonly Model _model;
    private readonly TeShell _shell;
    private readonly CpuBackend[] _others; // of the DP groups behind the first

    private TinyModel(EngineOptions options, bool tokenizer, string? template, bool images, int labels = 0, Action<int>? published = null, Checkpoint? given = null, int groups = 1, IStepDomain? domain = null)
    {
        _checkpoint = given ?? (images ? PictureCheckpoint(labels) : new RandomCheckpoint(Vocabulary, options.MaxModelLength, End, labels));
        _others = [.. Enumerable.Range(1, groups - 1).Select(_ => new CpuBackend(new CpuOptions(Threads: 1, PinThreads: false)))];
        _backend = new CpuBackend(new CpuOptions(Threads: 1, PinThreads: false));
        _model = Model.Load(_checkpoint, _backend, new ModelOptions(MaxModelLength: given is null ? null : options.MaxModelLength));
        Tokenizer? text = tokenizer ? Tokenizer.FromJson(TokenizerJson(images)) : null;
        ChatTemplate? chat = tokenizer && template is not null ? ChatTemplate.Parse(template) : null;
        ImageConfig? shape = _model.Config.Images;
        Served = new ServedModel
        {
            Engine = _shell = new TeShell(_model, [_backend, .. _others], text, options, published, domain),
            Tokenizer = text,
            Template = chat,
            Images = shape is null || text is null ? null : new ImageInput(shape, ImageProcessor.Read(null, shape), text, chat),
            MaxModelLength = options.MaxModelLength,
            VocabularySize = _model.Config.VocabularySize,
            Labels = [.. Enumerable.Range(0, labels).Select(label => $"LABEL_{label}")],
        };
    }

    public ServedModel Served { get; }

    public TeShell Shell => _shell;

    public ModelConfig Config => _model.Config;

    public static TinyModel Create(EngineOptions? options = null, bool tokenizer = true, bool template = true, Action<int>? published = null, IStepDomain? domain = null) =>
        new(options ?? new EngineOptions { MaxModelLength = 512 }, tokenizer, template ? Template : null, images: false, labels: 0, published, domain: domain);

    /// <summary>A model of the repository, on token ids only.</summary>
    /// <param name="folder">Its folder, from the repository's root.</param>
    /// <param name="options">Settings of the engine.</param>
    /// <param name="published">See <see cref="TeShell"/>.</param>
    /// <param name="groups">DP groups.</param>
    public static TinyModel Open(string folder, EngineOptions options, Action<int>? published = null, int groups = 1)
    {
        DirectoryInfo root = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root.FullName, "XDeepServe.slnx")))
        {
            root = root.Parent ?? throw new DirectoryNotFoundException("The tests run outside the repository.");
        }
        return new TinyModel(options, tokenizer: false, null, images: false, labels: 0, published, Checkpoint.Open(Path.Combine(root.FullName, folder)), groups);
    }

    /// <summary>A model with a score head.</summary>
    public static TinyModel CreateScorer(int labels) => new(new EngineOptions { MaxModelLength = 512 }, tokenizer: true, Template, images: false, labels);

    /// <summary>A model that takes images of 30 x 30 pixels, nine tokens each.</summary>
    /// <param name="template">Chat template; null for one whose content is text.</param>
    public static TinyModel CreateForImages(string? template = null) =>
        new(new EngineOptions { MaxModelLength = 512 }, tokenizer: true, template ?? Template, images: true);

    /// <summary>A model that takes images and has a score head of one value.</summary>
    public static TinyModel CreateVisualScorer() => new(new EngineOptions { MaxModelLength = 512 }, tokenizer: true, Template, images: true, labels: 1);

    public void Dispose()
    {
        _shell.Dispose();
        _model.Dispose();
        _backend.Dispose();
        Array.ForEach(_others, other => other.Dispose());
        _checkpoint.Dispose();
    }

    // A byte's token has the byte as its id; its name follows the alphabet that byte-level tokenizers write bytes in.
    private static byte[] TokenizerJson(bool images)
    {
        JsonObject vocabulary = [];
        int beyond = 256;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            vocabulary[((char)(printable ? value : beyond++)).ToString(CultureInfo.InvariantCulture)] = value;
        }
        JsonArray added = [Special(Start, "<|start|>"), Special(End, "<|end|>")];
        if (images)
        {
            added.Add((JsonNode)Special(Image, "<image>"));
        }
        JsonObject json = new()
        {
            ["version"] = "1.0",
            ["added_tokens"] = added,
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false },
            ["post_processor"] = null,
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
        return Encoding.UTF8.GetBytes(json.ToJsonString());
    }

    private static Checkpoint PictureCheckpoint(int labels)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "golden", "config.json")))!.AsObject();
        config["image_token_index"] = Image;
        if (labels > 0)
        {
            config["architectures"] = new JsonArray("LlavaForSequenceClassification");
            config["num_labels"] = labels;
        }
        DirectoryInfo folder = Directory.CreateTempSubdirectory();
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "config.json"), config.ToJsonString());
            return Checkpoint.Open(folder.FullName, LoadFormat.Dummy);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static JsonObject Special(int id, string content) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };
}
