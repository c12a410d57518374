using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Selection;
using XDeepServe.Models.Text;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;

namespace XDeepServe.Training.Running;

/// <summary>A whole run: from settings to a folder with the model in <c>final/</c>.</summary>
/// <param name="settings">Its settings, checked.</param>
/// <param name="tell">Told in words what happens.</param>
public sealed class Run(TrainingSettings settings, Action<string> tell)
{
    private TrainingSettings settings = settings;

    /// <summary>Names of the stages.</summary>
    public static IReadOnlyList<string> Stages { get; } = ["pretrain", "sft", "bt", "gram-pretrain", "gram", "lrhp", "dpo"];

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
        "gram" => MakeJudge(writer, settings),
        "lrhp" => new Representing(writer, settings),
        "dpo" => new DirectPreference(writer, settings),
        _ => throw new TrainingException($"'{name}' is no stage; there are {string.Join(", ", Stages)}."),
    };

    private static Gram MakeJudge(PromptWriter writer, TrainingSettings settings)
    {
        try
        {
            return new Gram(writer, settings.JudgeTemplate.Length > 0 ? JudgePrompt.Of(File.ReadAllText(settings.JudgeTemplate)) : new JudgePrompt(), settings);
        }
        catch (ArgumentException unusable) // the prompt lacks a place, or a label is not one token of the model
        {
            throw new TrainingException(unusable.Message);
        }
    }

    /// <summary>The special token that a stage's model must know; null for none.</summary>
    public static string? TokenOf(string stage) => stage == "lrhp" ? PreferencePrompt.Token : null;

    /// <summary>Trains.</summary>
    /// <param name="stageName">One of <see cref="Stages"/>.</param>
    /// <param name="watcher">Told of steps and lines.</param>
    /// <param name="cancel">Stops with a checkpoint.</param>
    /// <returns>Whether the end was reached.</returns>
    public bool Train(string stageName, IWatcher? watcher, CancellationToken cancel)
    {
        TorchSharp.torch.Device device = Torch.Choose(settings.Device);
        using BaseModel model = new(settings.ModelNameOrPath, settings.FromScratch, TokenOf(stageName));
        settings = Readable(model.Shape.MaxPositions);
        Tests tests = new(settings);
        Stage stage = Make(stageName, model.Writer, settings);
        LoraSettings? adapters = settings.LoraR > 0 ? new LoraSettings(settings.LoraR, settings.LoraAlpha, settings.LoraTargetModules) : null;
        Dictionary<string, torch.Tensor> loaded = model.Load(stage.Scoring, adapters, settings.FromScratch, settings.Seed);
        string[] absent = [.. (adapters?.Targets ?? []).Where(target => !loaded.Keys.Any(name => name.EndsWith($".{target}{LoraSettings.Down}", StringComparison.Ordinal)))];
        if (absent.Length > 0)
            throw new TrainingException($"lora_target_modules names {string.Join(", ", absent)}, which {settings.ModelNameOrPath} has not; there are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj.");
        using TrainedWeights weights = new(loaded, Trains, settings.Bf16 ? torch.ScalarType.BFloat16 : torch.ScalarType.Float32, device);
        if (weights.Masters.numel() == 0)
            throw new TrainingException($"Nothing is left to learn: the stage {stageName} has no score head, and all else is frozen.");
        Decoder network = new(model.Shape, weights, adapters) { Recomputes = settings.GradientCheckpointing };
        tell($"{settings.ModelNameOrPath}: {weights.Masters.numel():N0} values are trained, on {device}, in {(settings.Bf16 ? "bfloat16 over float32 masters" : "float32")}");

        IReadOnlyList<Example> train = Read(stage, settings.TrainData, settings.MaxSamples);
        IReadOnlyList<Example> evaluation = Read(stage, settings.EvalData, 0);
        if (settings.EvalData.Count > 0 && evaluation.Count == 0)
            throw new TrainingException("No example of eval_data is left to evaluate on; see what was dropped and why.");
        tests.Prepare(stage, network);

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
        tests.Run(stage, network, train.Count, tell);
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
            name is BradleyTerry.Head or Representing.Bias || (adapters is not null ? name.Contains(".lora_", StringComparison.Ordinal) : !Frozen(name));

        bool Frozen(string name) => settings.FreezeBackbone
            || (name.StartsWith(VisionTower.Tower, StringComparison.Ordinal) ? settings.FreezeVisionTower
                : name.StartsWith(VisionTower.Projector, StringComparison.Ordinal) ? settings.FreezeMultiModalProjector : settings.FreezeLanguageModel);

        void Save(string folder, Func<string, Stream> create) => model.Save(folder, weights, stage.Scoring, adapters, create);
    }

    // What is longer than the model reads, the engine would refuse to serve.
    private TrainingSettings Readable(int positions)
    {
        if (settings.MaxLength <= positions)
            return settings;
        tell($"max_length is {positions} in place of {settings.MaxLength}: {settings.ModelNameOrPath} reads no more (max_position_embeddings). To learn from longer text, raise that in its config.json.");
        return settings with { MaxLength = positions };
    }

    private void WriteFeatures(Stage stage, Decoder network, string path, CancellationToken cancel)
    {
        DataCounts counts = new();
        List<Example> examples = [.. stage.Read(path, counts)];
        if (examples.Count == 0 || examples.Count != counts.Read)
            throw new TrainingException($"{path}: {counts}; features need every example, each of them one row. Leave those that are dropped out of the file.");
        string target = Path.Combine(settings.OutputDir, Path.GetFileNameWithoutExtension(path) + ".features");
        new GradientFeatures(stage, network, new RademacherProjection(settings.FeatureDimension, (ulong)settings.Seed), settings.PerDeviceTrainBatchSize).Write(target, stage.Prepare(network, examples), cancel);
        tell($"{examples.Count} features of {settings.FeatureDimension} values are in {target}");
    }

    private IReadOnlyList<Example> Read(Stage stage, IReadOnlyList<string> paths, int most)
    {
        Draw draw = new(most, settings.Seed);
        foreach (string path in paths)
        {
            DataCounts counts = new();
            (long before, long tokens) = (draw.Offered, 0);
            try
            {
                foreach (Example example in stage.Read(path, counts))
                {
                    Pixels.Require(example.Sequences.SelectMany(sequence => sequence.Images).Distinct(), $"{path}, example {counts.Read}");
                    draw.Offer(example);
                    tokens += example.Length;
                }
            }
            catch (TemplateException refused)
            {
                throw new TrainingException($"{path}, example {counts.Read}: the model's chat template does not take it: {refused.Message}");
            }
            tell($"{path}: {counts}; {draw.Offered - before} examples of {tokens / Math.Max(1, draw.Offered - before)} tokens");
        }
        IReadOnlyList<Example> examples = draw.Examples;
        if (examples.Count < draw.Offered)
            tell($"{examples.Count} examples were drawn of them");
        return examples;
    }
}
