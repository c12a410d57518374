using System.CommandLine;
using XDeepServe.Kernels;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Calibrating;
using XDeepServe.Models.Loading;

namespace XDeepServe.Cli;

/// <summary><c>xds convert</c>: writes a model as one GGUF file or as a folder with safetensors.</summary>
internal sealed class ConvertCommand : Command
{
    private readonly Argument<string> source = new("source") { Description = "Folder or GGUF file of the model." };
    private readonly Argument<string> target = new("target") { Description = "What to write: a file that ends with .gguf, or a folder for safetensors." };
    private readonly Option<string?> type = new("--type") { Description = $"Type of the matrices: f32, f16, bf16 anywhere; q8_0, q4_k, q5_0, q4_0 in GGUF; fp8, int8 in safetensors (default: q8_0 or bf16)." };
    private readonly Option<string> format = EngineFlags.Choice("--load-format", "Kind of files; 'dummy' makes random weights for a folder with a config.json.", "auto", "auto", "safetensors", "gguf", "dummy");
    private readonly Option<string?> calibration = new("--calibration") { Description = "UTF-8 text for int8: runs it through the model and moves the range of its activations into the weights." };
    private readonly Option<bool> force = new("--force") { Description = "Overwrite the target." };

    public ConvertCommand() : base("convert", "Converts a model to GGUF (loaded by llama.cpp too) or to safetensors.")
    {
        type.AcceptOnlyFromAmong("f32", "f16", "bf16", "q8_0", "q4_k", "q5_0", "q4_0", "fp8", "int8");
        Arguments.Add(source);
        Arguments.Add(target);
        Options.Add(type);
        Options.Add(format);
        Options.Add(calibration);
        Options.Add(force);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string from = result.GetValue(source)!, to = Path.TrimEndingDirectorySeparator(Path.GetFullPath(result.GetValue(target)!));
        bool gguf = to.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);
        MakeRoom(from, to, gguf, result.GetValue(force));
        ElementType kind = result.GetValue(type) is { } name ? EngineFlags.TypeOf(name) : gguf ? ElementType.Q8_0 : ElementType.BF16;
        LoadFormat files = Enum.Parse<LoadFormat>(result.GetValue(format)!, ignoreCase: true);
        using Interruption interruption = new();
        using Checkpoint checkpoint = Checkpoint.Open(from, files);
        if (files == LoadFormat.Dummy)
        {
            // Random tensors come into being when a model asks for them.
            using CpuBackend backend = new(new CpuOptions(1));
            using Model model = Model.Load(checkpoint, backend, new ModelOptions());
        }
        string title = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(from)));
        Smoothing? smoothing = result.GetValue(calibration) is { } text ? Calibrate(checkpoint, kind, text, interruption.Stop) : null;
        ConversionReport report = LoadedEngine.WithProgress($"Converting {title}", progress =>
        {
            ConversionOptions options = new(kind, title, smoothing, progress);
            return gguf
                ? GgufConverter.Convert(checkpoint, to, options, interruption.Stop)
                : SafetensorsConverter.Convert(checkpoint, Directory.Exists(from) ? from : Path.GetDirectoryName(Path.GetFullPath(from))!, to, result.GetValue(force), options, interruption.Stop);
        });
        Console.WriteLine(
            $"{to}: {report.Tensors} tensors, {report.Bytes / 1048576.0:F1} MiB from {report.SourceBytes / 1048576.0:F1} MiB, "
            + $"largest error {report.LargestError:P2} of a row's largest value, relative error {report.RelativeError:P3}");
        foreach (string note in report.Notes)
            Console.WriteLine($"  {note}");
        return 0;
    }

    /// <summary>Checks that the target may be written.</summary>
    private static void MakeRoom(string from, string to, bool gguf, bool force)
    {
        if (Exists(from) && Exists(to))
        {
            // However they are spelled: the target is removed at the end.
            string origin = RealPath.Of(Path.GetFullPath(from)), goal = RealPath.Of(to);
            if (origin == goal || origin.StartsWith(goal + Path.DirectorySeparatorChar, StringComparison.Ordinal))
                throw new ArgumentException($"The target {(origin == goal ? "is" : "holds")} the source; name another one.");
        }
        if (!Directory.Exists(Path.GetDirectoryName(to)))
            throw new ArgumentException($"The folder {Path.GetDirectoryName(to)} is not there.");
        if (gguf ? Directory.Exists(to) : File.Exists(to))
            throw new ArgumentException(gguf ? $"{to} is a folder; name a file." : $"{to} is a file; name a folder, or a file that ends with .gguf.");
        if (Exists(to) && !force)
            throw new ArgumentException($"{to} exists already; overwrite it with --force.");
        if (Directory.Exists(to) && !File.Exists(Path.Combine(to, "config.json")))
            throw new ArgumentException($"{to} is a folder without a config.json, so no model; it is not overwritten. Name another one.");
    }

    private static bool Exists(string path) => File.Exists(path) || Directory.Exists(path);

    private static Smoothing Calibrate(Checkpoint checkpoint, ElementType kind, string file, CancellationToken cancellation)
    {
        if (kind != ElementType.I8)
            throw new ArgumentException("--calibration smooths activations for int8; leave it out for other types.");
        string text = File.ReadAllText(file);
        CalibrationReport report = LoadedEngine.WithProgress("Calibrating", progress => Calibration.Run(checkpoint, text, progress, cancellation));
        string reached = report.LeastWindows is not { } least ? ""
            : $"; the least used expert had inputs in {least}{(least < Calibration.LeastSamples ? $" (fewer than {Calibration.LeastSamples}: give more text)" : "")}";
        Console.WriteLine($"calibrated on {report.Windows} windows{reached}");
        return report.Smoothing;
    }
}
