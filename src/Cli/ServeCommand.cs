using System.CommandLine;
using Microsoft.Extensions.Logging;
using XDeepServe.Models.Text;
using XDeepServe.Server;

namespace XDeepServe.Cli;

/// <summary><c>xds serve</c>: answers OpenAI clients.</summary>
internal sealed class ServeCommand : Command
{
    private readonly Argument<string?> model = new("model") { Description = "Folder or GGUF file of the model (default: the embedded nano-moe).", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<string> host = new("--host") { Description = "Address to listen on.", DefaultValueFactory = _ => "127.0.0.1" };
    private readonly Option<int> port = new("--port") { Description = "Port to listen on; 0 for any.", DefaultValueFactory = _ => 8000 };
    private readonly Option<string[]> keys = new("--api-key") { Description = "Keys of which clients must send one (default: the environment variable XDS_API_KEY).", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string[]> names = new("--served-model-name") { Description = "Names that the model answers to.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string?> template = new("--chat-template") { Description = "File with a chat template to use instead of the model's." };
    private readonly Option<string> generation = EngineFlags.Choice("--generation-config", "Where sampling defaults come from: 'auto' (the model) or 'vllm' (neutral).", "auto", "auto", "vllm");
    private readonly Option<string> prefix = new("--metric-prefix") { Description = "Beginning of the metrics' names; 'vllm:' suits existing dashboards.", DefaultValueFactory = _ => "vllm:" };
    private readonly Option<string?> media = new("--allowed-local-media-path") { Description = "Folder whose images requests may name as file:// URLs (default: none)." };
    private readonly EngineFlags engine;

    public ServeCommand() : base("serve", "Serves a model to OpenAI clients over HTTP.")
    {
        Arguments.Add(model);
        foreach (Option option in new Option[] { host, port, keys, names, template, generation, prefix, media })
            Options.Add(option);
        engine = new EngineFlags(this);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result, result.GetValue(model));
        if (result.GetValue(media) is { } folder && !Directory.Exists(folder))
            throw new ArgumentException($"--allowed-local-media-path must be a folder that is there; '{folder}' is not.");
        if (result.GetValue(port) is < 0 or > 65535)
            throw new ArgumentException($"--port must be between 0 and 65535, not {result.GetValue(port)}.");
        string? source = result.GetValue(template) is { } file ? await File.ReadAllTextAsync(file, cancel) : null;
        if (source is not null)
            ChatTemplate.Parse(source); // a mistake in it is told before the model is loaded
        string[] given = result.GetValue(keys) is { Length: > 0 } listed ? listed : Environment.GetEnvironmentVariable("XDS_API_KEY") is { Length: > 0 } key ? [key] : [];
        ServerOptions options = new()
        {
            Host = result.GetValue(host)!,
            Port = result.GetValue(port),
            ApiKeys = given,
            ServedModelNames = result.GetValue(names) is { Length: > 0 } chosen ? chosen : [settings.Name],
            ModelRoot = settings.Path,
            ChatTemplateOverride = source,
            AllowedLocalMediaPath = result.GetValue(media),
            MaxLogprobs = settings.Engine.MaxLogprobs,
            MetricPrefix = Prefix(result.GetValue(prefix)!),
            UseGenerationConfig = result.GetValue(generation) == "auto",
        };
        using Interruption interruption = new();
        LoadedEngine? loaded = null;
        // The host's own lines are left out: what keeps it from starting ends this command, with one line.
        XdsServer server = XdsServer.Build(options, logging => logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None).AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss ";
        }));
        try
        {
            await server.RunAsync(token => Task.Run(() => Serve(loaded = LoadedEngine.Open(settings), settings, options), token), interruption.Stop, interruption.Hurry);
        }
        catch (OperationCanceledException) when (interruption.Stop.IsCancellationRequested)
        {
            // Asked to stop while the model was loading: nothing was promised to anyone yet.
            return 0;
        }
        finally
        {
            await server.DisposeAsync();
            loaded?.Dispose();
        }
        return 0;
    }

    private static string Prefix(string given) =>
        given.Length > 0 && !char.IsAsciiDigit(given[0]) && given.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '_' or ':')
            ? given
            : throw new ArgumentException($"--metric-prefix must be letters, digits, '_' and ':', not '{given}'.");

    private static ServedModel Serve(LoadedEngine loaded, EngineSettings settings, ServerOptions options)
    {
        string? source = options.ChatTemplateOverride ?? loaded.Tokenizer?.ChatTemplate;
        Console.Error.WriteLine($"{settings.Name}: {loaded.Model.Config.Family}, {loaded.Model.WeightBytes / 1048576.0:F0} MiB of weights, {loaded.Shell.CacheBytes / 1048576.0:F0} MiB of KV cache ({loaded.Shell.CacheBlocks} blocks); {loaded.Backend.Description}");
        ChatTemplate? template = source is null ? null : ChatTemplate.Parse(source);
        return new ServedModel
        {
            Images = loaded.ImagesFor(template),
            Engine = loaded.Shell,
            Tokenizer = loaded.Tokenizer,
            Template = template,
            MaxModelLength = loaded.Shell.Options.MaxModelLength,
            VocabularySize = loaded.Model.Config.VocabularySize,
            GenerationConfig = loaded.Checkpoint.GenerationConfig,
            Labels = [.. Enumerable.Range(0, loaded.Model.Config.Labels).Select(label => (string?)loaded.Checkpoint.Config["id2label"]?[$"{label}"] ?? $"LABEL_{label}")],
        };
    }
}
