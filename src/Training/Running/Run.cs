using System.Text.Json;
using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;

namespace XDeepServe.Training.Running;

/// <summary>A whole run: from settings to a folder with the model in <c>final/</c>.</summary>
/// <param name="settings">Its settings, checked.</param>
/// <param name="tell">Told in words what happens.</param>
public sealed class Run(TrainingSettings settings, Action<string> tell)
{
    /// <summary>Names of the stages.</summary>
    public static IReadOnlyList<string> Stages { get; } = ["pretrain", "sft", "bt", "gram-pretrain", "gram", "lrhp", "dpo"];

    private const string BestOfN = "best-of-n=";

    /// <summary>Makes a stage.</summary>
    /// <param name="name">One of <see cref="Stages"/>.</param>
    /// <param name="writer">Turns conversations into token ids.</param>
    /// <param name="settings">Of the run.</param>
    public static Stage Make(string name, PromptWriter writer, TrainingSettings settings) => name switch
    {
        "pretrain" => new Pretraining(writer, settings),
        "sft" => new FineTuning(writer, settings),
        "bt" => new BradleyTerry(writer, settings),
        "gram-pretrain" => new GramPretraining(writer, settings),
        "gram" => new Gram(writer, settings.JudgeTemplate.Length > 0 ? JudgePrompt.Of(File.ReadAllText(settings.JudgeTemplate)) : new JudgePrompt(), settings),
        "lrhp" => new Representing(writer, settings),
        "dpo" => new DirectPreference(writer, settings),
        _ => throw new TrainingException($"'{name}' is no stage; there are {string.Join(", ", Stages)}."),
    };

    /// <summary>Trains.</summary>
    /// <param name="stageName">One of <see cref="Stages"/>.</param>
    /// <param name="watcher">Told of steps and lines.</param>
    /// <param name="cancel">Stops with a checkpoint.</param>
    /// <returns>Whether the end was reached.</returns>
    public bool Train(string stageName, IWatcher? watcher, CancellationToken cancel)
    {
        TorchSharp.torch.Device device = Torch.Choose(settings.Device);
        using BaseModel model = new(settings.ModelNameOrPath, settings.FromScratch);
        Stage stage = Make(stageName, model.Writer, settings);
        LoraSettings? adapters = settings.LoraR > 0 ? new LoraSettings(settings.LoraR, settings.LoraAlpha, settings.LoraTargetModules) : null;
        Dictionary<string, torch.Tensor> loaded = model.Load(stage.Scores, adapters, settings.FromScratch, settings.Seed);
        using TrainedWeights weights = new(loaded, Trains, settings.Bf16 ? torch.ScalarType.BFloat16 : torch.ScalarType.Float32, device);
        Decoder network = new(model.Shape, weights, adapters) { Recomputes = settings.GradientCheckpointing };
        tell($"{settings.ModelNameOrPath}: {weights.Masters.numel():N0} values are trained, on {device}, in {(settings.Bf16 ? "bfloat16 over float32 masters" : "float32")}");

        IReadOnlyList<Example> train = Read(stage, settings.TrainData, settings.MaxSamples);
        IReadOnlyList<Example> evaluation = Read(stage, settings.EvalData, 0);
        (string Name, Benchmark Benchmark)[] tests = [.. settings.TestData.Where(text => !text.StartsWith(BestOfN, StringComparison.Ordinal)).Select(Test)];

        Checkpoints checkpoints = new(settings.OutputDir, settings.SaveTotalLimit);
        TrainingLog log = new(settings.OutputDir, watcher, settings.ReportTo == "tensorboard");
        using Trainer trainer = new(stage, network, settings, checkpoints, Save, log);
        bool done = trainer.Run(train, evaluation, cancel);
        Plots.Draw(settings.OutputDir, log.Entries);
        if (!done)
        {
            tell($"Stopped behind step {checkpoints.Steps[^1]}; go on with --resume_from_checkpoint true.");
            return false;
        }
        checkpoints.Write(Path.Combine(settings.OutputDir, "final"), folder => Save(folder, checkpoints.Create));
        tell($"The model is in {Path.Combine(settings.OutputDir, "final")}");
        foreach ((string name, Benchmark benchmark) in tests)
            Report(name, benchmark, new Judge(stage, network, settings).Run(benchmark.Pairs));
        foreach (string path in settings.TestData.Where(text => text.StartsWith(BestOfN, StringComparison.Ordinal)).Select(text => text[BestOfN.Length..]))
            Report(path, Samples.Pick(path, new Judge(stage, network, settings)));
        try
        {
            foreach (string path in settings.FeatureData)
                WriteFeatures(stage, network, path, cancel);
        }
        catch (OperationCanceledException)
        {
            tell("Stopped before all features were written; go on with --resume_from_checkpoint true.");
            return false;
        }
        return true;

        bool Trains(string name) =>
            name == BradleyTerry.Head || (adapters is not null ? name.Contains(".lora_", StringComparison.Ordinal) : !Frozen(name));

        bool Frozen(string name) => settings.FreezeBackbone
            || (name.StartsWith(VisionTower.Tower, StringComparison.Ordinal) ? settings.FreezeVisionTower
                : name.StartsWith(VisionTower.Projector, StringComparison.Ordinal) ? settings.FreezeMultiModalProjector : settings.FreezeLanguageModel);

        void Save(string folder, Func<string, Stream> create) => model.Save(folder, weights, stage.Scores, adapters, create);
    }

    private void Report(string path, IReadOnlyDictionary<string, (double All, double Picked)> means)
    {
        File.AppendAllLines(Path.Combine(settings.OutputDir, "test.jsonl"), [JsonSerializer.Serialize(new { benchmark = "best-of-n", file = Path.GetFileName(path), all = means.ToDictionary(mean => mean.Key, mean => mean.Value.All), picked = means.ToDictionary(mean => mean.Key, mean => mean.Value.Picked) })]);
        tell($"best-of-n: {string.Join(", ", means.Select(mean => $"{mean.Key} {mean.Value.All:F3} -> {mean.Value.Picked:F3}"))}");
    }

    private void WriteFeatures(Stage stage, Decoder network, string path, CancellationToken cancel)
    {
        DataCounts counts = new();
        List<Example> examples = [.. stage.Read(path, counts)];
        if (examples.Count == 0 || examples.Count != DataFile.Read(path).Count())
            throw new TrainingException($"{path}: {counts}; features need every example, each of them one row. Leave those that are dropped out of the file.");
        string target = Path.Combine(settings.OutputDir, Path.GetFileNameWithoutExtension(path) + ".features");
        new GradientFeatures(stage, network, new RademacherProjection(settings.FeatureDimension, (ulong)settings.Seed)).Write(target, stage.Prepare(network, examples), cancel);
        tell($"{examples.Count} features of {settings.FeatureDimension} values are in {target}");
    }

    private List<Example> Read(Stage stage, IReadOnlyList<string> paths, int most)
    {
        List<Example> examples = [];
        foreach (string path in paths)
        {
            DataCounts counts = new();
            int before = examples.Count;
            foreach (Example example in stage.Read(path, counts))
            {
                if (most > 0 && examples.Count == most)
                    break;
                examples.Add(example);
            }
            tell($"{path}: {counts}; {examples.Count - before} examples of {(examples.Count == before ? 0 : examples.Skip(before).Average(example => example.Length)):F0} tokens");
        }
        return examples;
    }

    private static (string Name, Benchmark Benchmark) Test(string text) => text.Split('=', 2) switch
    {
        [var name, var path] when Benchmark.Names.Contains(name) => (name, Benchmark.Read(name, path)),
        _ => throw new TrainingException($"test_data takes name=file with one of {string.Join(", ", Benchmark.Names)}, not '{text}'."),
    };

    private void Report(string name, Benchmark benchmark, IReadOnlyList<Verdict> verdicts)
    {
        Report report = XDeepServe.Alignment.Evaluation.Report.Of(benchmark, verdicts);
        File.AppendAllLines(Path.Combine(settings.OutputDir, "test.jsonl"), [JsonSerializer.Serialize(new
        {
            benchmark = name, pairs = report.Pairs, too_long = report.TooLong, accuracy = report.Micro.Mean, low = report.Micro.Low, high = report.Micro.High,
            macro = report.Macro.Mean, consistency = report.Consistency, length_only = report.LengthOnly, length_balanced = report.LengthBalanced?.Mean,
            subsets = report.Subsets.ToDictionary(subset => subset.Name, subset => Math.Round(subset.Accuracy, 4)),
        })]);
        tell($"{name}: {report.Micro.Mean:P1} of {report.Pairs} pairs [{report.Micro.Low:P1}, {report.Micro.High:P1}], macro {report.Macro.Mean:P1}, consistent {report.Consistency:P1}, longer answer {report.LengthOnly:P1}");
    }
}
