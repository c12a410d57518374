using XDeepServe.FlowServe;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Server;

namespace XDeepServe.Cli;

/// <summary>What of a model a front end needs: its configuration, tokenizer and templates, without weights. Owns the opened files.</summary>
internal sealed class FrontModel : IDisposable
{
    private readonly EngineSettings settings;

    private FrontModel(EngineSettings settings, Checkpoint checkpoint, Tokenizer? tokenizer)
    {
        (this.settings, Checkpoint, Tokenizer) = (settings, checkpoint, tokenizer);
        Config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
    }

    /// <summary>The opened files.</summary>
    public Checkpoint Checkpoint { get; }

    /// <summary>The model's shape.</summary>
    public ModelConfig Config { get; }

    /// <summary>Null when only ids are served.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>The engine's settings, with the longest sequence.</summary>
    public EngineOptions Engine => settings.Engine with { MaxModelLength = Model.MaxLengthFor(Config, settings.Model) };

    /// <summary>Opens a model's files.</summary>
    /// <exception cref="ModelLoadException">The model cannot be served; says what to do.</exception>
    public static FrontModel Open(EngineSettings settings)
    {
        var checkpoint = Checkpoint.Open(settings.Path, settings.Format);
        try
        {
            return new FrontModel(settings, checkpoint, LoadTokenizer(checkpoint, settings));
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>The tokenizer; null when only ids are served.</summary>
    /// <exception cref="ModelLoadException">There is none.</exception>
    public static Tokenizer? LoadTokenizer(Checkpoint checkpoint, EngineSettings settings) =>
        settings.SkipTokenizer ? null : checkpoint.LoadTokenizer()
            ?? throw new ModelLoadException($"{settings.Path} brings no tokenizer. Put its tokenizer.json there, or work on token ids only with --skip-tokenizer-init.");

    /// <summary>The model as a server answers for it.</summary>
    /// <param name="checkpoint">Its files.</param>
    /// <param name="config">Its shape.</param>
    /// <param name="tokenizer">Null when only ids are served.</param>
    /// <param name="engine">Runs the requests.</param>
    /// <param name="options">Settings of the server.</param>
    public static ServedModel Serve(Checkpoint checkpoint, ModelConfig config, Tokenizer? tokenizer, IEngine engine, ServerOptions options)
    {
        string? source = options.ChatTemplateOverride ?? tokenizer?.ChatTemplate;
        ChatTemplate? template = source is null ? null : ChatTemplate.Parse(source);
        return new ServedModel
        {
            Images = ImagesFor(checkpoint, config, tokenizer, template),
            Engine = engine,
            Tokenizer = tokenizer,
            Template = template,
            MaxModelLength = engine.Options.MaxModelLength,
            VocabularySize = config.VocabularySize,
            GenerationConfig = checkpoint.GenerationConfig,
            Labels = config.LabelNames,
        };
    }

    /// <summary>How a model takes images in messages; null if it takes text alone.</summary>
    /// <exception cref="ModelLoadException">Its preprocessor_config.json asks for what is not supported.</exception>
    public static ImageInput? ImagesFor(Checkpoint checkpoint, ModelConfig config, Tokenizer? tokenizer, ChatTemplate? template) =>
        config.Images is { } shape && tokenizer is not null
            ? new ImageInput(shape, ImageProcessor.Read(checkpoint.PreprocessorConfig, shape), tokenizer, template)
            : null;

    /// <summary>The model as a server answers for it.</summary>
    public ServedModel Serve(IEngine engine, ServerOptions options) => Serve(Checkpoint, Config, Tokenizer, engine, options);

    /// <inheritdoc/>
    public void Dispose() => Checkpoint.Dispose();
}
