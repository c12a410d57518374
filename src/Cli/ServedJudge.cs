using System.CommandLine;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Server;

namespace XDeepServe.Cli;

/// <summary>The reward model beside a served model. Owns its engine, unless that is the served model's.</summary>
internal sealed class ServedJudge : IDisposable
{
    private readonly LoadedEngine? own;
    private readonly PromptReader reader;

    private ServedJudge(IEngine engine, Tokenizer tokenizer, IReadOnlyList<string> labels, Func<ChatTemplate?, ImageInput?> images, LoadedEngine? own)
    {
        this.own = own;
        reader = new PromptReader(engine);
        ChatTemplate? template = tokenizer.CreateTemplate();
        PromptWriter writer = new(tokenizer, template, images(template));
        SeesImages = writer.Images is not null;
        Rewards = IRewardModel.Of(reader, writer, labels, new JudgePrompt());
    }

    /// <summary>The flag that names it.</summary>
    public static Option<string?> Flag() => new("--reward-model")
    {
        Description = "Folder or GGUF file of a model that picks the best of several answers for requests with best_of; 'self' for the served model as a judge (default: such requests are refused). In a service of many processes each front end loads it; 'self' asks the workers.",
    };

    /// <summary>Refuses what cannot be, before anything is loaded.</summary>
    /// <exception cref="ArgumentException">Answers must be text to be compared.</exception>
    public static void Check(string? model, EngineSettings settings)
    {
        if (model is not null && settings.SkipTokenizer)
            throw new ArgumentException("--reward-model reads text: leave --skip-tokenizer-init out.");
    }

    /// <summary>Scores with a score head of one value, if the model has one; else judges.</summary>
    public IRewardModel Rewards { get; }

    /// <summary>Whether it takes images.</summary>
    public bool SeesImages { get; }

    /// <summary>Opens it.</summary>
    /// <param name="model">Folder or GGUF file; <c>self</c> for the served model.</param>
    /// <param name="settings">Those of the served model, whose device it shares.</param>
    /// <param name="served">The served model, whose engine must outlive this object.</param>
    /// <exception cref="ModelLoadException">The model cannot be used; says what to do.</exception>
    public static ServedJudge Open(string model, EngineSettings settings, ServedModel served)
    {
        if (model == "self")
            return new ServedJudge(served.Engine, served.Tokenizer!, served.Labels, template => served.Images is { } images ? new ImageInput(images.Shape, images.Processor, served.Tokenizer!, template) : null, own: null);
        LoadedEngine engine = LoadedEngine.Open(settings with
        {
            Path = model,
            DraftModel = null,
            Groups = 1,
            Cpu = settings.Cpu with { PinThreads = false }, // its cores are the served model's, too
            Model = settings.Model with { Quantization = null, MaxModelLength = null, Drafts = false },
            Engine = settings.Engine with { Speculation = null, Tiers = null },
        });
        return new ServedJudge(engine.Shell, engine.Tokenizer!, engine.Model.Config.LabelNames, template => FrontModel.ImagesFor(engine.Checkpoint, engine.Model.Config, engine.Tokenizer, template), engine);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        reader.Dispose();
        own?.Dispose();
    }
}
