using System.CommandLine;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Ranking;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli.Reward;

/// <summary>The flags of every command that uses a reward model.</summary>
internal sealed class RewardFlags
{
    private readonly Option<string> kind = EngineFlags.Choice(
        "--reward", "How the model judges: 'generative' (GRAM: A or B, in both orders), 'scalar' (a score head), 'likelihood' or 'length' (baselines); 'auto' is scalar where the model has a score head.",
        "auto", "auto", "generative", "scalar", "likelihood", "length");
    private readonly Option<string?> judgeTemplate = new("--judge-template") { Description = "File with another judge's prompt; it holds {question}, {answer_a} and {answer_b}." };
    private readonly Option<string?> server = new("--server") { Description = "Address of a running xds server that judges, such as http://127.0.0.1:8000, instead of a model loaded here; goes with --reward generative (the default) or scalar." };
    private readonly EngineFlags engine;

    /// <summary>Adds the flags to a command.</summary>
    public RewardFlags(Command command)
    {
        command.Options.Add(kind);
        command.Options.Add(judgeTemplate);
        command.Options.Add(server);
        engine = new EngineFlags(command, embedded: $"{EmbeddedModel.Judge}; for a likelihood nano-moe");
    }

    /// <summary>The flag that says how the best of several is found.</summary>
    public static Option<string> TournamentFlag() => EngineFlags.Choice(
        "--tournament", "How a judge finds the best: 'linear', 'knockout' (both n - 1 comparisons) or 'round-robin' (all pairs and a fit).", "knockout", "linear", "knockout", "round-robin");

    /// <summary>What was chosen with <see cref="TournamentFlag"/>.</summary>
    public static Tournament ReadTournament(ParseResult result, Option<string> flag) => result.GetValue(flag) switch
    {
        "linear" => Tournament.Linear,
        "round-robin" => Tournament.RoundRobin,
        _ => Tournament.KnockOut,
    };

    /// <summary>Loads the model and does something with it.</summary>
    public Task<T> UseAsync<T>(ParseResult result, Func<IRewardModel, CancellationToken, Task<T>> use) => UseAsync(result, (model, _, _, cancel) => use(model, cancel));

    /// <summary>Loads the model and does something with it and with the engine behind it, which a model without an engine lacks.</summary>
    public async Task<T> UseAsync<T>(ParseResult result, Func<IRewardModel, PromptReader?, Tokenizer?, CancellationToken, Task<T>> use)
    {
        using Interruption interruption = new();
        string chosen = result.GetValue(kind)!;
        JudgePrompt judge = result.GetValue(judgeTemplate) is { } file ? JudgePrompt.Of(await File.ReadAllTextAsync(file)) : new JudgePrompt();
        if (chosen == "length")
            return await use(new LengthRewardModel(), null, null, interruption.Stop);
        if (result.GetValue(server) is { } address)
        {
            if (chosen == "likelihood" || !Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out Uri? url) || url.Scheme is not ("http" or "https"))
                throw new ArgumentException("--server is an address such as http://127.0.0.1:8000, and goes with --reward generative or scalar.");
            using HttpClient http = new() { BaseAddress = url };
            if (Environment.GetEnvironmentVariable("XDS_API_KEY") is { Length: > 0 } key)
                http.DefaultRequestHeaders.Authorization = new("Bearer", key);
            using HttpReader remote = new(http);
            return await use(chosen == "scalar" ? new ScalarRewardModel(remote) : new GenerativeRewardModel(remote, judge), null, null, interruption.Stop);
        }
        EngineSettings settings = engine.Read(result, embedded: chosen is "auto" or "generative" ? EmbeddedModel.Judge : null);
        if (settings.SkipTokenizer)
            throw new ArgumentException("Reward models read text: leave --skip-tokenizer-init out.");
        using LoadedEngine loaded = LoadedEngine.Open(settings);
        using PromptReader reader = new(loaded.Shell);
        Tokenizer tokenizer = loaded.Tokenizer!;
        ChatTemplate? template = tokenizer.CreateTemplate();
        PromptWriter writer = new(tokenizer, template, FrontModel.ImagesFor(loaded.Checkpoint, loaded.Model.Config, tokenizer, template));
        bool scalar = loaded.Model.Config.Labels == 1;
        IRewardModel model = chosen switch
        {
            "scalar" or "auto" when scalar => IRewardModel.Of(reader, writer, loaded.Model.Config.LabelNames, judge),
            "scalar" => throw new ArgumentException($"{settings.Name} has no score head of one value; use --reward generative."),
            "likelihood" => new LikelihoodRewardModel(reader, writer),
            _ => new GenerativeRewardModel(reader, writer, judge),
        };
        return await use(model, reader, tokenizer, interruption.Stop);
    }
}
