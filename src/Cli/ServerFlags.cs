using System.CommandLine;
using XDeepServe.Models.Text;
using XDeepServe.Server;

namespace XDeepServe.Cli;

/// <summary>The flags of every command that answers clients over HTTP.</summary>
internal sealed class ServerFlags
{
    private readonly Option<string> host = new("--host") { Description = "Address to listen on.", DefaultValueFactory = _ => "127.0.0.1" };
    private readonly Option<int> port = new("--port") { Description = "Port to listen on; 0 for any.", DefaultValueFactory = _ => 8000 };
    private readonly Option<string[]> keys = new("--api-key") { Description = "Keys of which clients must send one (default: the environment variable XDS_API_KEY).", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string[]> names = new("--served-model-name") { Description = "Names that the model answers to.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string?> template = new("--chat-template") { Description = "File with a chat template to use instead of the model's." };
    private readonly Option<string> generation = EngineFlags.Choice("--generation-config", "Where sampling defaults come from: 'auto' (the model) or 'vllm' (neutral).", "auto", "auto", "vllm");
    private readonly Option<string> prefix = new("--metric-prefix") { Description = "Beginning of the metrics' names; 'vllm:' suits existing dashboards.", DefaultValueFactory = _ => "vllm:" };
    private readonly Option<string?> media = new("--allowed-local-media-path") { Description = "Folder whose images requests may name as file:// URLs (default: none)." };

    /// <summary>Adds the flags to a command.</summary>
    public ServerFlags(Command command)
    {
        foreach (Option option in All)
            command.Options.Add(option);
    }

    private IReadOnlyList<Option> All => [host, port, keys, names, template, generation, prefix, media];

    /// <summary>Flags that hand what was given down to another front end; it has a port of its own.</summary>
    public IEnumerable<string> ForWorkers(ParseResult result) => GivenFlags.Of(result, All.Where(option => option != port));

    /// <summary>Reads the flags.</summary>
    public async Task<ServerOptions> ReadAsync(ParseResult result, EngineSettings settings, CancellationToken cancel)
    {
        if (result.GetValue(media) is { } folder && !Directory.Exists(folder))
            throw new ArgumentException($"--allowed-local-media-path must be a folder that is there; '{folder}' is not.");
        if (result.GetValue(port) is < 0 or > 65535)
            throw new ArgumentException($"--port must be between 0 and 65535, not {result.GetValue(port)}.");
        string? source = result.GetValue(template) is { } file ? await File.ReadAllTextAsync(file, cancel) : null;
        if (source is not null)
            ChatTemplate.Parse(source); // a mistake in it is told before the model is loaded
        string[] given = result.GetValue(keys) is { Length: > 0 } listed ? listed : Environment.GetEnvironmentVariable("XDS_API_KEY") is { Length: > 0 } key ? [key] : [];
        return new ServerOptions
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
    }

    private static string Prefix(string given) =>
        given.Length > 0 && !char.IsAsciiDigit(given[0]) && given.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '_' or ':')
            ? given
            : throw new ArgumentException($"--metric-prefix must be letters, digits, '_' and ':', not '{given}'.");
}
