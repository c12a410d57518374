using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Server.Requests;

namespace XDeepServe.Server.InProcess;

/// <summary>A model with an engine inside an application: what its chat client, embedding generator and reward model share. Any thread.</summary>
public sealed class LocalEngine : IDisposable
{
    private readonly Checkpoint _checkpoint;
    private readonly Backend _backend;
    private readonly Model _model;
    private readonly TeShell _shell;

    private LocalEngine(LocalOptions options, Checkpoint checkpoint, Backend backend, Model model, Tokenizer tokenizer)
    {
        (_checkpoint, _backend, _model) = (checkpoint, backend, model);
        Name = options.Name ?? Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(Path.GetFullPath(options.Model)));
        _shell = new TeShell(model, backend, tokenizer, options.Engine with { MaxModelLength = model.MaxLength });
        Writer = new PromptWriter(tokenizer, tokenizer.CreateTemplate());
        Reader = new PromptReader(_shell);
        Rewards = IRewardModel.Of(Reader, Writer, model.Config.LabelNames, options.Judge);
        Defaults = SamplingDefaults.From(checkpoint.GenerationConfig);
    }

    /// <summary>The model's name.</summary>
    public string Name { get; }

    /// <summary>Values of a representation.</summary>
    public int HiddenSize => _model.Config.HiddenSize;

    /// <summary>Runs requests.</summary>
    public IEngine Engine => _shell;

    /// <summary>Writes prompts.</summary>
    public PromptWriter Writer { get; }

    /// <summary>Reads behind prompts.</summary>
    public PromptReader Reader { get; }

    /// <summary>Judges answers: by its score head, if it has one of one value, else as a generative judge.</summary>
    public IRewardModel Rewards { get; }

    internal SamplingDefaults Defaults { get; }

    /// <summary>Loads a model and starts an engine.</summary>
    /// <exception cref="ModelLoadException">The model cannot be run; says what to do.</exception>
    public static LocalEngine Open(LocalOptions options)
    {
        Checkpoint checkpoint = Checkpoint.Open(options.Model);
        Backend? backend = null;
        Model? model = null;
        try
        {
            Tokenizer tokenizer = checkpoint.LoadTokenizer() ?? throw new ModelLoadException($"{options.Model} brings no tokenizer. Put its tokenizer.json there.");
            ElementType type = options.Gpu is null ? ElementType.F32 : ElementType.BF16;
            backend = options.Gpu is { } gpu ? new CudaBackend(new CudaOptions(gpu, type)) : new CpuBackend(new CpuOptions(options.Threads, PinThreads: options.PinThreads));
            model = Model.Load(checkpoint, backend, new ModelOptions(type, options.Quantization, options.MaxModelLength));
            return new LocalEngine(options, checkpoint, backend, model, tokenizer);
        }
        catch
        {
            model?.Dispose();
            backend?.Dispose();
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>Aborts what runs and frees the model.</summary>
    public void Dispose()
    {
        Reader.Dispose();
        _shell.Dispose();
        _model.Dispose();
        _backend.Dispose();
        _checkpoint.Dispose();
    }
}
