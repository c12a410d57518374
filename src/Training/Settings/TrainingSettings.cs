using System.ComponentModel;
using XDeepServe.Training.Losses;

namespace XDeepServe.Training;

/// <summary>A run's settings, under TRL's names: <c>learning_rate</c> in a YAML file, <c>--learning_rate</c> (or <c>--learning-rate</c>) as a flag.</summary>
public sealed record TrainingSettings
{
    /// <summary>Where the model comes from.</summary>
    [Description("Model to begin with: a Hugging Face folder or a GGUF file.")]
    public string ModelNameOrPath { get; init; } = "";

    /// <summary>Whether weights are drawn anew.</summary>
    [Description("Draw the weights at random; the model's folder needs config.json and a tokenizer only.")]
    public bool FromScratch { get; init; }

    /// <summary>Data to learn from.</summary>
    [Description("Files to learn from: JSON lines, a JSON array (.gz too) or Parquet.")]
    public IReadOnlyList<string> TrainData { get; init; } = [];

    /// <summary>Data to evaluate on.</summary>
    [Description("Files to evaluate on while training.")]
    public IReadOnlyList<string> EvalData { get; init; } = [];

    /// <summary>Benchmarks judged when training is over.</summary>
    [Description("Benchmarks to judge in the end, as name=file (hhh, judgebench, rm-bench, rewardbench, pairs, ...), best-of-n=file with responses and numbers about them, or describe=file with scenes' captions, for a model that writes; any of them several times.")]
    public IReadOnlyList<string> TestData { get; init; } = [];

    /// <summary>Most examples taken.</summary>
    [Description("Draw at most so many pairs (or texts) of the training data, by the seed; a larger draw holds the smaller ones; 0 for all.")]
    public int MaxSamples { get; init; }

    /// <summary>Where everything goes.</summary>
    [Description("Folder for checkpoints, the log and the final model (in final/).")]
    public string OutputDir { get; init; } = "";

    /// <summary>Peak of the schedule.</summary>
    [Description("Peak learning rate.")]
    public double LearningRate { get; init; } = 1e-5;

    /// <summary>Its shape.</summary>
    [Description("Schedule: cosine, linear or constant.")]
    public Optimizing.ScheduleKind LrSchedulerType { get; init; } = Optimizing.ScheduleKind.Cosine;

    /// <summary>Share of steps in which the rate rises.</summary>
    [Description("Share of the steps that the learning rate rises over.")]
    public double WarmupRatio { get; init; } = 0.1;

    /// <summary>Passes over the data.</summary>
    [Description("Passes over the data; may be a fraction.")]
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Steps in place of passes.</summary>
    [Description("Steps in all; 0 to go by num_train_epochs.")]
    public int MaxSteps { get; init; }

    /// <summary>Examples that run together.</summary>
    [Description("Examples that run together.")]
    public int PerDeviceTrainBatchSize { get; init; } = 8;

    /// <summary>The same without gradients.</summary>
    [Description("Examples that run together in evaluation.")]
    public int PerDeviceEvalBatchSize { get; init; } = 16;

    /// <summary>Batches of a step.</summary>
    [Description("Batches whose gradients make one step.")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Whether layers are computed again.</summary>
    [Description("Compute layers again in the backward pass instead of keeping what is inside them.")]
    public bool GradientCheckpointing { get; init; }

    /// <summary>Longest sequence.</summary>
    [Description("Longest sequence in tokens: text is cut there, pairs beyond it are dropped and counted. At most what the model's config.json says that it reads.")]
    public int MaxLength { get; init; } = 2048;

    /// <summary>Decoupled decay of matrices.</summary>
    [Description("Weight decay of matrices (AdamW).")]
    public double WeightDecay { get; init; }

    /// <summary>AdamW's first moment.</summary>
    [Description("AdamW: decay of the first moment.")]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>AdamW's second moment.</summary>
    [Description("AdamW: decay of the second moment.")]
    public double AdamBeta2 { get; init; } = 0.999;

    /// <summary>AdamW's floor of the denominator.</summary>
    [Description("AdamW: epsilon.")]
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Clips gradients.</summary>
    [Description("Longest gradient; 0 not to clip.")]
    public double MaxGradNorm { get; init; } = 1;

    /// <summary>Of everything random.</summary>
    [Description("Seed of the draw and the order of examples and of new weights.")]
    public int Seed { get; init; } = 42;

    /// <summary>Computing in bfloat16.</summary>
    [Description("Compute in bfloat16 over float32 master weights.")]
    public bool Bf16 { get; init; }

    /// <summary>Where.</summary>
    [Description("Device: auto, cpu or cuda.")]
    public string Device { get; init; } = "auto";

    /// <summary>Another libtorch.</summary>
    [Description("Folder of a libtorch to use in place of the one beside xds-train, such as torch/lib of a Python installation with CUDA.")]
    public string Libtorch { get; init; } = "";

    /// <summary>Evaluates every so many steps.</summary>
    [Description("Evaluate every so many steps; 0 at the end of each epoch.")]
    public int EvalSteps { get; init; }

    /// <summary>Logs every so many steps.</summary>
    [Description("Log every so many steps, and at the last one.")]
    public int LoggingSteps { get; init; } = 10;

    /// <summary>Saves every so many steps.</summary>
    [Description("Save a checkpoint every so many steps; 0 at the end of each epoch.")]
    public int SaveSteps { get; init; }

    /// <summary>Checkpoints that are kept.</summary>
    [Description("Checkpoints that are kept (the best one besides).")]
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>Whether to go on.</summary>
    [Description("Go on from the last checkpoint in output_dir, if there is one.")]
    public bool ResumeFromCheckpoint { get; init; }

    /// <summary>Stops when evaluation stops getting better.</summary>
    [Description("Stop after so many evaluations without a lower loss, and keep the best model; 0 never to.")]
    public int EarlyStoppingPatience { get; init; }

    /// <summary>ε of label smoothing.</summary>
    [Description("Label smoothing epsilon of pairs (bt, gram, dpo).")]
    public double LabelSmoothing { get; init; }

    /// <summary>What ε means.</summary>
    [Description("Meaning of epsilon: two_point, targets (1-e, e), or pytorch, targets (1-e/2, e/2), as GRAM's released code has it.")]
    public SmoothingForm SmoothingForm { get; init; }

    /// <summary>Centres rewards.</summary>
    [Description("bt: factor on the squared sum of rewards.")]
    public double CenterRewardsCoefficient { get; init; }

    /// <summary>Uses the data's margins.</summary>
    [Description("bt: subtract the data's margins.")]
    public bool UseMargin { get; init; }

    /// <summary>Learns the head alone.</summary>
    [Description("Train the score head alone.")]
    public bool FreezeBackbone { get; init; }

    /// <summary>Keeps the vision transformer as it is.</summary>
    [Description("LLaVA: keep the vision transformer as it is.")]
    public bool FreezeVisionTower { get; init; }

    /// <summary>Keeps the projector as it is.</summary>
    [Description("LLaVA: keep the projector as it is.")]
    public bool FreezeMultiModalProjector { get; init; }

    /// <summary>Keeps the text model as it is.</summary>
    [Description("LLaVA: keep the text model as it is (a score head is trained).")]
    public bool FreezeLanguageModel { get; init; }

    /// <summary>Both orders of each pair.</summary>
    [Description("gram, lrhp: learn each pair in both orders instead of one at random.")]
    public bool BothOrders { get; init; }

    /// <summary>A judge's prompt.</summary>
    [Description("gram: file with a judge's prompt in place of the built-in one.")]
    public string JudgeTemplate { get; init; } = "";

    /// <summary>DPO's strength.</summary>
    [Description("dpo: beta.")]
    public double Beta { get; init; } = 0.1;

    /// <summary>Rank of adapters.</summary>
    [Description("Rank of low-rank adapters; 0 to train the weights themselves.")]
    public int LoraR { get; init; }

    /// <summary>Scale of adapters, times rank.</summary>
    [Description("Low-rank adapters: alpha.")]
    public double LoraAlpha { get; init; } = 32;

    /// <summary>Which projections get adapters.</summary>
    [Description("Low-rank adapters: projections that get one.")]
    public IReadOnlyList<string> LoraTargetModules { get; init; } = ["q_proj", "k_proj", "v_proj", "o_proj"];

    /// <summary>Data whose gradient features are written.</summary>
    [Description("Files whose gradient features are written in the end, for xds select (needs lora_r).")]
    public IReadOnlyList<string> FeatureData { get; init; } = [];

    /// <summary>Values of a feature.</summary>
    [Description("Gradient features: values that a gradient is projected to, a multiple of 64.")]
    public int FeatureDimension { get; init; } = 8192;

    /// <summary>Event files for TensorBoard.</summary>
    [Description("Where to report besides log.jsonl and log.csv: none or tensorboard.")]
    public string ReportTo { get; init; } = "none";

    /// <summary>Examples of a step.</summary>
    public int StepSize => PerDeviceTrainBatchSize * GradientAccumulationSteps;

    /// <summary>Label smoothing.</summary>
    public Smoothing Smoothing => new(LabelSmoothing, SmoothingForm);

    /// <summary>Refuses what cannot be.</summary>
    /// <exception cref="TrainingException">Says which setting is wrong.</exception>
    public void Check()
    {
        Require(ModelNameOrPath.Length > 0, "model_name_or_path is missing: name the model to begin with.");
        Require(OutputDir.Length > 0, "output_dir is missing: name a folder for checkpoints and the final model.");
        Require(TrainData.Count > 0, "train_data is missing: name the files to learn from.");
        Require(LearningRate is > 0 and < 10, "learning_rate must be greater than 0 and less than 10, such as 1e-5.");
        Require(WarmupRatio is >= 0 and <= 1, "warmup_ratio must be from 0 to 1.");
        Require(NumTrainEpochs > 0 && double.IsFinite(NumTrainEpochs), "num_train_epochs must be greater than 0.");
        Require(MaxSteps >= 0 && EvalSteps >= 0 && SaveSteps >= 0 && MaxSamples >= 0 && EarlyStoppingPatience >= 0 && LoraR >= 0, "max_steps, eval_steps, save_steps, max_samples, early_stopping_patience and lora_r must not be negative.");
        Require(PerDeviceTrainBatchSize > 0 && PerDeviceEvalBatchSize > 0 && GradientAccumulationSteps > 0 && LoggingSteps > 0 && SaveTotalLimit > 0, "per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps, logging_steps and save_total_limit must be at least 1.");
        Require(MaxLength > 1, "max_length must be at least 2.");
        Require(LabelSmoothing is >= 0 and < 1 && Smoothing.Weight < 0.5, "label_smoothing must be at least 0, and less than 0.5 (two_point) or 1 (pytorch).");
        Require(WeightDecay >= 0 && MaxGradNorm >= 0 && CenterRewardsCoefficient >= 0 && Beta > 0, "weight_decay, max_grad_norm and center_rewards_coefficient must not be negative, beta must be greater than 0.");
        Require(AdamBeta1 is >= 0 and < 1 && AdamBeta2 is >= 0 and < 1 && AdamEpsilon > 0, "adam_beta1 and adam_beta2 must be from 0 to below 1, adam_epsilon greater than 0.");
        Require(LoraR == 0 || LoraTargetModules.Count > 0, "lora_target_modules must name a projection, such as q_proj.");
        Require(LoraR == 0 || !FreezeBackbone, "freeze_backbone trains the score head alone: leave it or lora_r out.");
        Require(EarlyStoppingPatience == 0 || EvalData.Count > 0, "early_stopping_patience needs eval_data.");
        Require(FeatureData.Count == 0 || LoraR > 0, "feature_data needs lora_r: features are gradients with respect to low-rank adapters.");
        Require(FeatureDimension >= 64 && FeatureDimension % 64 == 0, "feature_dimension must be a multiple of 64.");
        Require(ReportTo is "none" or "tensorboard", "report_to is none or tensorboard.");
        Require(Device is "auto" or "cpu" or "cuda", "device is auto, cpu or cuda.");

        static void Require(bool holds, string what)
        {
            if (!holds)
                throw new TrainingException(what);
        }
    }
}
