using System.CommandLine;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary><c>xds convert</c>: writes a model as one GGUF file.</summary>
internal sealed class ConvertCommand : Command
{
    private readonly Argument<string> source = new("source") { Description = "Folder or GGUF file of the model." };
    private readonly Argument<string> target = new("target") { Description = "GGUF file to write." };
    private readonly Option<string> type = EngineFlags.Choice("--type", "Type of the matrices.", "q8_0", "f32", "f16", "bf16", "q8_0");
    private readonly Option<string> format = EngineFlags.Choice("--load-format", "Kind of files; 'dummy' makes random weights for a folder with a config.json.", "auto", "auto", "safetensors", "gguf", "dummy");
    private readonly Option<bool> force = new("--force") { Description = "Overwrite the target." };

    public ConvertCommand() : base("convert", "Converts a model to GGUF (loaded by llama.cpp too).")
    {
        Arguments.Add(source);
        Arguments.Add(target);
        Options.Add(type);
        Options.Add(format);
        Options.Add(force);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string to = Path.GetFullPath(result.GetValue(target)!);
        if (File.Exists(to) && !result.GetValue(force))
            throw new ArgumentException($"{to} exists already; overwrite it with --force.");
        if (!Directory.Exists(Path.GetDirectoryName(to)))
            throw new ArgumentException($"The folder {Path.GetDirectoryName(to)} is not there.");
        ElementType kind = Enum.Parse<ElementType>(result.GetValue(type)!, ignoreCase: true);
        LoadFormat from = Enum.Parse<LoadFormat>(result.GetValue(format)!, ignoreCase: true);
        using Checkpoint checkpoint = Checkpoint.Open(result.GetValue(source)!, from);
        if (from == LoadFormat.Dummy)
        {
            // Random tensors come into being when a model asks for them.
            using CpuBackend backend = new(new CpuOptions(1));
            using Model model = Model.Load(checkpoint, backend, new ModelOptions());
        }
        string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(result.GetValue(source)!)));
        ConversionReport report = LoadedEngine.WithProgress($"Converting {name}", progress => GgufConverter.Convert(checkpoint, to, kind, name, progress));
        Console.WriteLine($"{to}: {report.Tensors} tensors, {report.Bytes / 1048576.0:F1} MiB from {report.SourceBytes / 1048576.0:F1} MiB, largest error {report.LargestError:P2} of a row's largest value");
        foreach (string kept in report.Kept)
            Console.WriteLine($"  not {kind}: {kept}");
        return 0;
    }
}
