using System.CommandLine;
using System.Globalization;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Kernels.Cuda;
using XDeepServe.Models;
using XDeepServe.Models.Calibrating;
using XDeepServe.Models.Loading;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench perplexity</c>: how well a model foretells a text, to compare types of weights.</summary>
internal sealed class BenchPerplexityCommand : Command
{
    private readonly EngineFlags flags;
    private readonly Option<string> text = new("--text") { Description = "UTF-8 file.", Required = true };
    private readonly Option<int> window = new("--window") { Description = "Tokens that are read together.", DefaultValueFactory = _ => 512 };

    public BenchPerplexityCommand() : base("perplexity", "Measures how well a model foretells a text.")
    {
        flags = new EngineFlags(this);
        Options.Add(text);
        Options.Add(window);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        EngineSettings settings = flags.Read(result);
        string content = File.ReadAllText(result.GetValue(text)!);
        using Checkpoint checkpoint = Checkpoint.Open(settings.Path, settings.Format);
        int[] ids = [.. (checkpoint.LoadTokenizer() ?? throw new ModelLoadException($"{settings.Path} brings no tokenizer, so no text can be read.")).Encode(content)];
        using Backend backend = settings.Cuda is { } cuda ? new CudaBackend(cuda) : new CpuBackend(settings.Cpu);
        using Model model = LoadedEngine.WithProgress($"Loading {settings.Name}", progress => Model.Load(checkpoint, backend, settings.Model, progress));
        int length = result.GetValue(window);
        if (length < 2 || length > model.MaxLength)
            throw new ArgumentException($"--window must be from 2 to {model.MaxLength}.");
        using WindowRunner runner = new(model, backend, length);
        Perplexity found = LoadedEngine.WithProgress("Reading", progress => Perplexity.Measure(runner, ids, progress));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{settings.Name}: perplexity {found.Value:F4}, mean log-probability {found.MeanLogProbability:F5}, {found.Tokens} tokens, weights {model.WeightBytes / 1048576.0:F1} MiB"));
        return 0;
    }
}
