using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli;

/// <summary>The reward model beside a served model. Owns its engine, unless that is the served model's.</summary>
internal sealed class ServedJudge : IDisposable
{
    private readonly LoadedEngine? own;
    private readonly PromptReader reader;

    private ServedJudge(LoadedEngine engine, bool owns)
    {
        own = owns ? engine : null;
        reader = new PromptReader(engine.Shell);
        Tokenizer tokenizer = engine.Tokenizer!;
        PromptWriter writer = new(tokenizer, tokenizer.CreateTemplate());
        Rewards = engine.Model.Config.Labels == 1 ? new ScalarRewardModel(reader, writer) : new GenerativeRewardModel(reader, writer, new JudgePrompt());
    }

    /// <summary>Scores with a score head of one value, if the model has one; else judges.</summary>
    public IRewardModel Rewards { get; }

    /// <summary>Opens it.</summary>
    /// <param name="model">Folder or GGUF file; <c>self</c> for the served model.</param>
    /// <param name="settings">Those of the served model, whose device it shares.</param>
    /// <param name="served">The served model; must outlive this object.</param>
    /// <exception cref="ModelLoadException">The model cannot be used; says what to do.</exception>
    public static ServedJudge Open(string model, EngineSettings settings, LoadedEngine served)
    {
        if (model == "self")
            return new ServedJudge(served, owns: false);
        LoadedEngine engine = LoadedEngine.Open(settings with
        {
            Path = model,
            DraftModel = null,
            Groups = 1,
            Cpu = settings.Cpu with { PinThreads = false }, // its cores are the served model's, too
            Model = settings.Model with { Quantization = null, MaxModelLength = null, Drafts = false },
            Engine = settings.Engine with { Speculation = null, Tiers = null },
        });
        return new ServedJudge(engine, owns: true);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        reader.Dispose();
        own?.Dispose();
    }
}
