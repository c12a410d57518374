using System.Globalization;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Training.Settings;

/// <summary>One phase of RoVRM's progressive training.</summary>
/// <param name="Name">textual, caption or visual.</param>
/// <param name="Settings">Of its run.</param>
/// <param name="Keep">How many pairs selection keeps; 0 for all.</param>
public sealed record RovrmPhase(string Name, TrainingSettings Settings, int Keep);

/// <summary>
/// RoVRM's recipe (arXiv:2408.12109): three phases of training, from text over captions to images, and the selection of their data. A YAML file
/// of settings for all phases, with the maps <c>textual</c>, <c>caption</c> and <c>visual</c> for each one's own, of which <c>keep</c> is how many
/// pairs are selected, and <c>selection</c> for the warm-up model that selects. A phase without data is left out.
/// </summary>
public sealed record RovrmSettings
{
    /// <summary>Names of the phases in their order.</summary>
    public static IReadOnlyList<string> PhaseNames { get; } = ["textual", "caption", "visual"];

    /// <summary>What each phase runs: bt for a reward model, dpo for a policy (RoDPO).</summary>
    public string Stage { get; init; } = "bt";

    /// <summary>The phases that have data, in their order.</summary>
    public required IReadOnlyList<RovrmPhase> Phases { get; init; }

    /// <summary>How pairs are selected.</summary>
    public SelectionMethod Method { get; init; } = SelectionMethod.Transport;

    /// <summary>Of the warm-up model; it has adapters.</summary>
    public required TrainingSettings WarmUp { get; init; }

    /// <summary>Candidates that the warm-up model learns from.</summary>
    public int WarmUpCandidates { get; init; } = 2000;

    /// <summary>Targets that the warm-up model learns from.</summary>
    public int WarmUpTargets { get; init; } = 3000;

    /// <summary>Targets that candidates are scored against.</summary>
    public int Targets { get; init; } = 5000;

    /// <summary>Where everything goes.</summary>
    public string OutputDir => WarmUp.OutputDir;

    /// <summary>Reads a recipe.</summary>
    /// <exception cref="TrainingException">It is none, or a setting in it is wrong.</exception>
    public static RovrmSettings Read(string path)
    {
        Dictionary<string, object?> whole = Recipe.ReadMap(path);
        string[] sections = [.. PhaseNames, "selection", "stage"];
        TrainingSettings common = Recipe.Apply(new TrainingSettings { AdamBeta2 = 0.95 }, Recipe.Entries(path, whole.Where(item => !sections.Contains(item.Key))));
        Dictionary<string, object?> selection = Section("selection");
        string[] own = ["method", "warmup_candidates", "warmup_targets", "targets"];
        List<RovrmPhase> phases = [];
        foreach (string name in PhaseNames.Where(whole.ContainsKey))
        {
            Dictionary<string, object?> section = Section(name);
            TrainingSettings settings = Recipe.Apply(common, Recipe.Entries(path, section.Where(item => item.Key != "keep"))) with { OutputDir = Path.Combine(common.OutputDir, name), ResumeFromCheckpoint = true };
            phases.Add(new RovrmPhase(name, settings, Number(section, "keep", 0)));
            settings.Check();
        }
        if (phases.Count == 0)
            throw new TrainingException($"{path} names none of the phases {string.Join(", ", PhaseNames)}.");
        if (phases[^1].Keep > 0)
            throw new TrainingException($"{path}: 'keep' of {phases[^1].Name} has nothing to select against: the last phase's pairs are the target. Give them all, or fewer of them.");
        // What the paper's warm-up has, unless the file says otherwise.
        TrainingSettings warmUp = Recipe.Apply(
            common with { LoraR = 128, LoraAlpha = 512, ResumeFromCheckpoint = true }, Recipe.Entries(path, selection.Where(item => !own.Contains(item.Key))));
        string stage = whole.GetValueOrDefault("stage") as string ?? "bt", method = selection.GetValueOrDefault("method") as string ?? "ot";
        return new RovrmSettings
        {
            Stage = stage is "bt" or "dpo" ? stage : throw new TrainingException($"{path}: 'stage' is bt or dpo, not '{stage}'."),
            Phases = phases,
            WarmUp = warmUp,
            Method = method switch
            {
                "ot" => SelectionMethod.Transport,
                "distance" => SelectionMethod.Distance,
                "less" => SelectionMethod.Less,
                "random" => SelectionMethod.Random,
                "all" => SelectionMethod.All,
                _ => throw new TrainingException($"{path}: 'method' is ot, distance, less, random or all, not '{method}'."),
            },
            WarmUpCandidates = Number(selection, "warmup_candidates", 2000),
            WarmUpTargets = Number(selection, "warmup_targets", 3000),
            Targets = Number(selection, "targets", 5000, 1),
        };

        Dictionary<string, object?> Section(string name) => whole.GetValueOrDefault(name) switch
        {
            null => [],
            Dictionary<object, object?> map => map.ToDictionary(item => (string)item.Key, item => item.Value),
            _ => throw new TrainingException($"{path}: '{name}' must be a map of settings."),
        };

        int Number(Dictionary<string, object?> section, string name, int fallback, int least = 0) =>
            !section.TryGetValue(name, out object? value) ? fallback
            : int.TryParse(value as string, CultureInfo.InvariantCulture, out int number) && number >= least ? number
            : throw new TrainingException($"{path}: '{name}' must be a whole number, at least {least}.");
    }
}
