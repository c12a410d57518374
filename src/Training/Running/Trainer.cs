using System.Diagnostics;
using TorchSharp;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Optimizing;
using XDeepServe.Training.Stages;
using static TorchSharp.torch;

namespace XDeepServe.Training.Running;

/// <summary>Runs a stage: steps, evaluations, checkpoints. A run that is interrupted goes on as if it had not been.</summary>
/// <param name="stage">What is learnt.</param>
/// <param name="network">What learns; stays the caller's.</param>
/// <param name="settings">The run's settings.</param>
/// <param name="checkpoints">Where it is kept.</param>
/// <param name="save">Writes the model into a folder.</param>
/// <param name="log">Told of what happens.</param>
public sealed class Trainer(
    Stage stage, Decoder network, TrainingSettings settings, Checkpoints checkpoints, Action<string, Func<string, Stream>> save, TrainingLog log) : IDisposable
{
    private readonly AdamW optimizer = new(network.Weights, settings);
    private TrainerState state = new();
    private TrainerState? saved; // what the newest checkpoint holds

    /// <summary>Trains to the end, or until it is stopped.</summary>
    /// <param name="train">Examples to learn from.</param>
    /// <param name="evaluation">Examples to evaluate on.</param>
    /// <param name="cancel">Stops behind the step under way, with a checkpoint.</param>
    /// <returns>Whether the end was reached.</returns>
    /// <exception cref="TrainingException">Loss or gradient is no number, or a checkpoint or the log cannot be written, or a checkpoint is damaged or of another run.</exception>
    public bool Run(IReadOnlyList<Example> train, IReadOnlyList<Example> evaluation, CancellationToken cancel = default)
    {
        if (train.Count == 0)
            throw new TrainingException("No example is left to learn from; see what was dropped and why.");
        (train, evaluation) = (stage.Prepare(network, train), stage.Prepare(network, evaluation));
        int perEpoch = (train.Count + settings.StepSize - 1) / settings.StepSize;
        int total = settings.MaxSteps > 0 ? settings.MaxSteps : (int)Math.Ceiling(settings.NumTrainEpochs * perEpoch);
        Schedule schedule = new(settings.LrSchedulerType, settings.LearningRate, total, (int)Math.Ceiling(settings.WarmupRatio * total));
        state = Begin(train.Count, total);
        saved = state.Step > 0 ? state : null;
        log.Start(state.Step, total);
        IReadOnlyList<IReadOnlyList<IReadOnlyList<Example>>> plan = [];
        for (int planned = -1; state.Step < total && !Stopped();)
        {
            if (cancel.IsCancellationRequested)
            {
                Save();
                return false;
            }
            bool last = state.Step + 1 == total;
            int epoch = state.Step / perEpoch;
            if (epoch != planned)
                plan = BatchPlan.Epoch(train, settings.StepSize, settings.PerDeviceTrainBatchSize, settings.Seed, planned = epoch);
            Step(plan[state.Step % perEpoch], schedule.Rate(state.Step), (double)(state.Step + 1) / perEpoch, last);
            bool ends = last || state.Step % perEpoch == 0;
            if (evaluation.Count > 0 && (settings.EvalSteps > 0 ? state.Step % settings.EvalSteps == 0 || last : ends))
                Evaluate(evaluation);
            if (settings.SaveSteps > 0 ? state.Step % settings.SaveSteps == 0 || last : ends)
                Save();
        }
        if (settings.EarlyStoppingPatience > 0 && state.Best >= 0 && state.Best != state.Step && checkpoints.Steps.Contains(state.Best))
            state = checkpoints.Restore(state.Best, optimizer, network.Weights);
        return true;
    }

    /// <summary>Loss and accuracy without learning.</summary>
    public Window Measure(IReadOnlyList<Example> examples)
    {
        Window window = new();
        using IDisposable unrecorded = no_grad();
        foreach (IReadOnlyList<Example> together in BatchPlan.ByLength(examples, settings.PerDeviceEvalBatchSize))
        {
            using DisposeScope scope = NewDisposeScope();
            Batch batch = stage.Batch(together, network.Weights.Device);
            window += Sum(stage.Loss(network, network.Hidden(batch.Ids, batch.Pictures), batch), batch);
        }
        return window;
    }

    /// <inheritdoc/>
    public void Dispose() => optimizer.Dispose();

    private TrainerState Begin(int examples, int total)
    {
        string run = $"{stage.GetType().Name}, {examples} examples, step of {settings.StepSize}, {total} steps, seed {settings.Seed}";
        if (checkpoints.Steps is not [.., int last])
            return new TrainerState { Run = run };
        if (!settings.ResumeFromCheckpoint)
            throw new TrainingException($"{checkpoints.Of(last)} is there already: go on from it with --resume_from_checkpoint true, or name another output_dir.");
        TrainerState found = checkpoints.Restore(last, optimizer, network.Weights);
        return found.Run == run ? found : throw new TrainingException($"{checkpoints.Of(last)} belongs to a run of {found.Run}, this one is of {run}: go on with its settings, or name another output_dir.");
    }

    private bool Stopped() => settings.EarlyStoppingPatience > 0 && state.Waited >= settings.EarlyStoppingPatience;

    private void Step(IReadOnlyList<IReadOnlyList<Example>> batches, double rate, double epoch, bool last)
    {
        long begun = Stopwatch.GetTimestamp();
        double weight = batches.Sum(batch => batch.Sum(stage.Weight));
        Window window = new();
        foreach (IReadOnlyList<Example> examples in batches)
        {
            using DisposeScope scope = NewDisposeScope();
            Batch batch = stage.Batch(examples, network.Weights.Device);
            Outcome? outcome = null;
            network.Backward(batch.Ids, hidden =>
            {
                outcome = stage.Loss(network, hidden, batch);
                return outcome.Losses.sum() / weight;
            }, batch.Pictures);
            using (no_grad())
                window += Sum(outcome!, batch);
            optimizer.Accumulate();
        }
        double length = optimizer.Step(rate);
        int step = state.Step + 1;
        if (!double.IsFinite(window.Loss) || !double.IsFinite(length))
        {
            throw NoNumber($"Step {step}: the loss is {window.MeanLoss} and the gradient's length {length}.");
        }
        state = state with { Step = step, OptimizerSteps = optimizer.Steps, Window = state.Window + window };
        log.Stepped(step, window.Tokens, Stopwatch.GetElapsedTime(begun));
        if (last || step % settings.LoggingSteps == 0)
        {
            log.Write(new LogEntry(step, epoch) { Loss = state.Window.MeanLoss, Accuracy = state.Window.Accuracy, GradientNorm = length, LearningRate = rate, Tokens = state.Window.Tokens });
            state = state with { Window = new Window() };
        }
    }

    private void Evaluate(IReadOnlyList<Example> evaluation)
    {
        Window measured = Measure(evaluation);
        if (!double.IsFinite(measured.MeanLoss))
            throw NoNumber($"Step {state.Step}: the loss on eval_data is {measured.MeanLoss}.");
        log.Write(new LogEntry(state.Step, 0) { EvalLoss = measured.MeanLoss, EvalAccuracy = measured.Accuracy });
        bool better = state.BestLoss is not { } best || measured.MeanLoss < best;
        state = better ? state with { BestLoss = measured.MeanLoss, Best = state.Step, Waited = 0 } : state with { Waited = state.Waited + 1 };
        if (better && settings.EarlyStoppingPatience > 0)
            Save();
    }

    // The best model may have been saved already when its step is to be saved.
    private void Save()
    {
        if (saved != state)
            checkpoints.Save(state, optimizer, network.Weights, save);
        saved = state;
    }

    private TrainingException NoNumber(string what) => new(
        $"{what} Lower learning_rate, or look at the data. {(checkpoints.Steps is [.., int kept] ? $"The last checkpoint, {checkpoints.Of(kept)}, is from before that." : "No checkpoint has been written.")}");

    private Window Sum(Outcome outcome, Batch batch)
    {
        double loss = outcome.Losses.sum().item<float>();
        double right = outcome.Differences is { } differences ? differences.gt(0).to(ScalarType.Float32).sum().item<float>() : 0;
        return new Window(loss, batch.Examples.Sum(stage.Weight), right, outcome.Differences is null ? 0 : batch.Examples.Count, batch.Tokens);
    }
}
