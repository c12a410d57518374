using Spectre.Console;
using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Server;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Cli;

/// <summary>A model and all that it needs to run. Owns it all.</summary>
internal sealed class LoadedEngine : IDisposable
{
    private readonly DraftModel? drafts;
    private readonly AttentionRank? rank;
    private readonly List<Backend> others; // of the DP groups behind the first

    private LoadedEngine(Checkpoint checkpoint, Backend backend, Model model, Tokenizer? tokenizer, DraftModel? drafts, AttentionRank? rank, TeShell shell, List<Backend> others)
    {
        this.others = others;
        (Checkpoint, Backend, Model, Tokenizer, Shell) = (checkpoint, backend, model, tokenizer, shell);
        (this.drafts, this.rank) = (drafts, rank);
    }

    /// <summary>The opened files.</summary>
    public Checkpoint Checkpoint { get; }

    /// <summary>The device.</summary>
    public Backend Backend { get; }

    /// <summary>The network.</summary>
    public Model Model { get; }

    /// <summary>Null when only ids are served.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>The engine.</summary>
    public TeShell Shell { get; }

    /// <summary>Opens a model and starts an engine; shows progress on the error stream where that is a terminal.</summary>
    /// <param name="settings">What to load and how to run it.</param>
    /// <param name="published">Called with a DP group's number when all output of a turn has been pushed.</param>
    /// <param name="join">Loads the model without its experts, which are on other ranks; null to load all of it.</param>
    /// <exception cref="ModelLoadException">The model cannot be served; says what to do.</exception>
    public static LoadedEngine Open(EngineSettings settings, Action<int>? published = null, Func<Checkpoint, Backend, AttentionRank>? join = null)
    {
        AttentionRank? rank = null;
        Checkpoint checkpoint = Checkpoint.Open(settings.Path, settings.Format, nameRandom: settings.Cuda is not null);
        Backend? backend = null;
        List<Backend> others = []; // of the DP groups behind the first
        Model? model = null;
        DraftModel? drafts = null;
        try
        {
            Tokenizer? tokenizer = FrontModel.LoadTokenizer(checkpoint, settings);
            backend = settings.Cuda is { } cuda ? new CudaBackend(cuda) : new CpuBackend(settings.CpuOf(0));
            rank = join?.Invoke(checkpoint, backend);
            model = rank?.Model ?? WithProgress($"Loading {settings.Name}", progress => Model.Load(checkpoint, backend, settings.Model, progress));
            if (tokenizer is not null && tokenizer.VocabularySize > model.Config.VocabularySize)
                throw new ModelLoadException($"The tokenizer has {tokenizer.VocabularySize} tokens, the model only {model.Config.VocabularySize}: they do not belong together.");
            EngineOptions options = settings.Engine with { MaxModelLength = model.MaxLength };
            if (settings.DraftModel is { } path)
            {
                drafts = DraftModel.Load(path, backend, settings.Model, model.MaxLength);
                options = options with { Speculation = options.Speculation! with { DraftModel = drafts.Model } };
            }
            if (options.Tiers is { Folder: not null } tiers)
                options = options with { Tiers = tiers with { Model = checkpoint.Fingerprint($"{settings.Model.Quantization} {(settings.Cuda is null ? settings.Cpu.Activations : settings.Cuda.Activations)} {settings.Cuda is null}") } };
            for (int group = 1; group < settings.Groups; group++)
                others.Add(new CpuBackend(settings.CpuOf(group)));
            List<Backend> backends = [backend, .. others];
            TeShell shell = new(model, backends, tokenizer, options, published, rank?.Domain);
            long positions = (long)shell.CacheBlocks * shell.Options.BlockSize;
            if (positions < shell.Options.MaxModelLength)
            {
                shell.Dispose();
                throw new ModelLoadException($"The key-value cache holds {positions} positions, fewer than the {shell.Options.MaxModelLength} tokens of the longest context. Give it more memory, or lower --max-model-len.");
            }
            return new LoadedEngine(checkpoint, backend, model, tokenizer, drafts, rank, shell, others);
        }
        catch
        {
            drafts?.Dispose();
            rank?.Dispose();
            model?.Dispose();
            backend?.Dispose();
            others.ForEach(other => other.Dispose());
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Runs something that reports fractions from 0 to 1, with a bar on the error stream where that is a terminal.</summary>
    public static T WithProgress<T>(string title, Func<IProgress<double>?, T> work)
    {
        if (Console.IsErrorRedirected)
            return work(null);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return console.Progress().AutoClear(true).Start(context =>
        {
            ProgressTask task = context.AddTask(Markup.Escape(title), maxValue: 1);
            return work(new Direct(task));
        });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Shell.Dispose();
        drafts?.Dispose();
        rank?.Dispose();
        Model.Dispose();
        Backend.Dispose();
        foreach (Backend other in others)
            other.Dispose();
        Checkpoint.Dispose();
    }

    private sealed class Direct(ProgressTask task) : IProgress<double>
    {
        public void Report(double value) => task.Value = value;
    }
}
