using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Selection;
using XDeepServe.Training.Settings;
using XDeepServe.Training.Transport;

namespace XDeepServe.Training.Running;

/// <summary>
/// RoVRM's whole training: captions are selected against the visual pairs, texts against the selected captions, and one phase goes on from the other's
/// model. What is done already is not done again; a phase that was stopped goes on from its last checkpoint.
/// </summary>
/// <param name="settings">The recipe.</param>
/// <param name="tell">Told in words what happens.</param>
public sealed class RovrmRun(RovrmSettings settings, Action<string> tell)
{
    /// <summary>Trains.</summary>
    /// <param name="watcher">Told of steps and lines.</param>
    /// <param name="cancel">Stops with a checkpoint.</param>
    /// <returns>Whether the end was reached. The last phase's <c>final/</c> is the model.</returns>
    public bool Train(IWatcher? watcher, CancellationToken cancel)
    {
        Dictionary<string, IReadOnlyList<string>> data = settings.Phases.ToDictionary(phase => phase.Name, phase => phase.Settings.TrainData);
        for (int at = settings.Phases.Count - 2; at >= 0; at--)
        {
            RovrmPhase phase = settings.Phases[at];
            if (phase.Keep > 0 && settings.Method != SelectionMethod.All)
            {
                if (Select(phase, data[settings.Phases[at + 1].Name], watcher, cancel) is not { } selected)
                    return false;
                data[phase.Name] = [selected];
            }
        }
        string model = settings.WarmUp.ModelNameOrPath;
        bool scratch = settings.WarmUp.FromScratch;
        foreach (RovrmPhase phase in settings.Phases)
        {
            string final = Path.Combine(phase.Settings.OutputDir, "final");
            if (Directory.Exists(final))
                tell($"{phase.Name}: done already");
            else if (!new Run(phase.Settings with { ModelNameOrPath = model, FromScratch = scratch, TrainData = data[phase.Name] }, text => tell($"{phase.Name}: {text}")).Train(settings.Stage, watcher, cancel))
                return false;
            (model, scratch) = (final, false);
        }
        return true;
    }

    // Null if it was stopped.
    private string? Select(RovrmPhase phase, IReadOnlyList<string> targetFiles, IWatcher? watcher, CancellationToken cancel)
    {
        string folder = Path.Combine(settings.OutputDir, "selection", phase.Name), selected = Path.Combine(folder, "selected.jsonl");
        if (File.Exists(selected))
            return selected;
        Directory.CreateDirectory(folder);
        string[] candidates = [.. Lines(phase.Settings.TrainData, selected)], targets = [.. Lines(targetFiles, selected)];
        Random random = new(settings.WarmUp.Seed);
        if (settings.Method == SelectionMethod.Random)
        {
            random.Shuffle(candidates);
            Write(selected, candidates.Take(phase.Keep));
            return selected;
        }
        string from = Path.Combine(folder, "candidates.jsonl"), to = Path.Combine(folder, "targets.jsonl"), warmUp = Path.Combine(folder, "warmup.jsonl");
        random.Shuffle(targets);
        File.WriteAllLines(from, candidates);
        File.WriteAllLines(to, targets.Take(settings.Targets));
        string[] shuffled = [.. candidates];
        random.Shuffle(shuffled);
        File.WriteAllLines(warmUp, shuffled.Take(settings.WarmUpCandidates).Concat(targets.Take(settings.WarmUpTargets)));
        TrainingSettings run = settings.WarmUp with { OutputDir = Path.Combine(folder, "warmup"), TrainData = [warmUp], FeatureData = [from, to] };
        run.Check();
        if (!new Run(run, text => tell($"selecting {phase.Name} pairs: {text}")).Train(settings.Stage, watcher, cancel))
            return null;
        using FeatureFile fromFeatures = FeatureFile.Open(Path.Combine(run.OutputDir, "candidates.features")), toFeatures = FeatureFile.Open(Path.Combine(run.OutputDir, "targets.features"));
        SelectionReport report;
        try
        {
            report = DeviceSelection.Select(fromFeatures, toFeatures, new SelectionSettings { Method = settings.Method, Keep = phase.Keep }, run.Device, cancel);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
        report.WriteJson(Path.Combine(folder, "report.json"));
        report.WriteCsv(Path.Combine(folder, "scores.csv"));
        SelectionPlot.Write(Path.Combine(folder, "selection.svg"), report);
        Write(selected, report.Kept.Select(row => candidates[row]));
        tell($"selecting {phase.Name} pairs: kept {report.Kept.Length} of {candidates.Length}{(report.Plan is { } plan ? $", L1 marginal error {plan.MarginalError:E1}" : "")}");
        return selected;
    }

    // The file appears when it is complete.
    private static void Write(string path, IEnumerable<string> lines)
    {
        File.WriteAllLines(path + ".part", lines);
        File.Move(path + ".part", path, overwrite: true);
    }

    private static IEnumerable<string> Lines(IReadOnlyList<string> files, string target) => files.SelectMany(file => DataFile.Read(file).Select(row => row.ToJson(file, target)));
}
