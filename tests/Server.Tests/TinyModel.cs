using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Text;

namespace XDeepServe.Server.Tests;

/// <summary>A tiny random model with a tokenizer of one token per byte and the engine that runs it.</summary>
internal sealed class TinyModel : IDisposable
{
    public const int Start = 256;
    public const int End = 257;
    public const int Vocabulary = 258;

    private const string Template =
        "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

    private readonly RandomCheckpoint _checkpoint;
    private readonly CpuBackend _backend;
    private readonly Model _model;

    private TinyModel(EngineOptions options, bool tokenizer, bool template)
    {
        _checkpoint = new RandomCheckpoint(Vocabulary, options.MaxModelLength, End);
        _backend = new CpuBackend(new CpuOptions(Threads: 1, PinThreads: false));
        _model = Model.Load(_checkpoint, _backend, new ModelOptions());
        Tokenizer? text = tokenizer ? Tokenizer.FromJson(TokenizerJson()) : null;
        Served = new ServedModel
        {
            Engine = new TeShell(_model, _backend, text, options),
            Tokenizer = text,
            Template = tokenizer && template ? ChatTemplate.Parse(Template) : null,
            MaxModelLength = options.MaxModelLength,
            VocabularySize = Vocabulary,
        };
    }

    public ServedModel Served { get; }

    public static TinyModel Create(EngineOptions? options = null, bool tokenizer = true, bool template = true) =>
        new(options ?? new EngineOptions { MaxModelLength = 512 }, tokenizer, template);

    public void Dispose()
    {
        Served.Engine.Dispose();
        _model.Dispose();
        _backend.Dispose();
        _checkpoint.Dispose();
    }

    // A byte's token has the byte as its id; its name follows the alphabet that byte-level tokenizers write bytes in.
    private static byte[] TokenizerJson()
    {
        JsonObject vocabulary = [];
        int beyond = 256;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            vocabulary[((char)(printable ? value : beyond++)).ToString(CultureInfo.InvariantCulture)] = value;
        }
        JsonObject json = new()
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray(Special(Start, "<|start|>"), Special(End, "<|end|>")),
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false },
            ["post_processor"] = null,
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
        return Encoding.UTF8.GetBytes(json.ToJsonString());
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
