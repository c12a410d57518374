using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Scenes;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Network;
using XDeepServe.Training.Stages;

namespace XDeepServe.Training.Running;

/// <summary>
/// What a run's model is tried on when training is over: benchmarks, questions with several answers, and scenes to describe. Each makes a line of <c>test.jsonl</c> in the
/// run's folder, which is written anew, so that a run that goes on has every line once.
/// </summary>
public sealed class Tests
{
    private const string BestOfN = "best-of-n", Describe = "describe";
    private readonly List<(string Path, Benchmark? Benchmark, Samples? Samples, Descriptions? Descriptions)> tests = [];
    private readonly TrainingSettings settings;

    /// <summary>Reads the files that the settings name, so that what is wrong with one is said before training.</summary>
    /// <exception cref="TrainingException">A test is not given as name=file.</exception>
    /// <exception cref="DataException">A file is not in its form.</exception>
    public Tests(TrainingSettings settings)
    {
        this.settings = settings;
        foreach (string text in settings.TestData)
        {
            (string name, string path) = text.Split('=', 2) is [var given, var file] && (given is BestOfN or Describe || Benchmark.Names.Contains(given))
                ? (given, file)
                : throw new TrainingException($"test_data takes name=file with one of {string.Join(", ", Benchmark.Names)}, {BestOfN}, {Describe}, not '{text}'.");
            tests.Add(name switch
            {
                BestOfN => (path, null, Samples.Read(path), null),
                Describe => (path, null, null, Descriptions.Read(path)),
                _ => (path, Benchmark.Read(name, path), null, null),
            });
        }
    }

    /// <summary>Last word before the first step: a stage may have to remember how the network is then.</summary>
    /// <exception cref="TrainingException">The stage compares nothing.</exception>
    public void Prepare(Stage stage, Decoder network)
    {
        PreferencePair[] pairs = [.. tests.SelectMany(test => test.Benchmark?.Pairs ?? test.Samples?.Pairs ?? [])];
        Pixels.Require(pairs.SelectMany(pair => pair.Prompt).SelectMany(message => message.Images).Distinct(), "test_data");
        if (pairs.Length > 0 && stage.Ask(pairs[0]) is null)
            throw new TrainingException("This stage judges no pairs; leave test_data out.");
        if (stage.Scoring != ScoreHead.None && tests.Exists(test => test.Descriptions is not null))
            throw new TrainingException($"A reward model describes nothing; leave {Describe} out of test_data.");
        stage.Remember(network, pairs.SelectMany(pair => stage.Ask(pair)!));
    }

    /// <summary>Judges and describes everything and writes the lines.</summary>
    /// <param name="stage">Turns conversations into tokens.</param>
    /// <param name="network">The trained model.</param>
    /// <param name="examples">How many examples it has learnt from.</param>
    /// <param name="tell">Told each result in words.</param>
    public void Run(Stage stage, Decoder network, int examples, Action<string> tell)
    {
        if (tests.Count == 0)
            return;
        Judge judge = new(stage, network, settings);
        string lines = Path.Combine(settings.OutputDir, "test.jsonl");
        File.WriteAllText(lines, "");
        foreach ((string path, Benchmark? benchmark, Samples? samples, Descriptions? descriptions) in tests)
        {
            Dictionary<string, object?> line = new() { ["run"] = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(settings.OutputDir))), ["examples"] = examples, ["seed"] = settings.Seed, ["file"] = Path.GetFileName(path) };
            if (benchmark is not null)
                Pairs(line, benchmark, judge.Run(benchmark.Pairs));
            else if (samples is not null)
                Best(line, samples.Pick(judge));
            else
                Described(line, descriptions!.Draw(stage, network, settings));
            File.AppendAllLines(lines, [JsonSerializer.Serialize(line)]);
        }

        void Pairs(Dictionary<string, object?> line, Benchmark benchmark, IReadOnlyList<Verdict> verdicts)
        {
            Report report = Report.Of(benchmark, verdicts);
            (line["benchmark"], line["pairs"], line["ties"], line["too_long"]) = (report.Benchmark, report.Pairs, verdicts.Count(verdict => verdict.Correct == 0.5), report.TooLong);
            (line["accuracy"], line["low"], line["high"], line["macro"]) = (report.Micro.Mean, report.Micro.Low, report.Micro.High, report.Macro.Mean);
            line["accuracy_fitting"] = verdicts.Where(verdict => verdict.ChosenIsBetter is not null).Select(verdict => (double?)verdict.Correct).Average();
            (line["consistency"], line["length_only"], line["length_balanced"]) = (report.Consistency, report.LengthOnly, report.LengthBalanced?.Mean);
            line["subsets"] = report.Subsets.ToDictionary(subset => subset.Name, subset => Math.Round(subset.Accuracy, 4));
            tell($"{line["file"]} ({report.Benchmark}): {report.Micro.Mean:P1} of {report.Pairs} pairs [{report.Micro.Low:P1}, {report.Micro.High:P1}], macro {report.Macro.Mean:P1}, {(report.LengthBalanced is { } balanced ? $"length-balanced {balanced.Mean:P1}, " : "")}consistent {report.Consistency:P1}, longer answer {report.LengthOnly:P1}");
        }

        void Described(Dictionary<string, object?> line, IReadOnlyList<CaptionScore> scores)
        {
            (line["benchmark"], line["questions"]) = (Describe, scores.Count);
            (line["coverage"], line["hallucination"]) = (scores.Average(score => score.Coverage), scores.Average(score => score.Hallucination));
            tell($"{line["file"]} ({Describe}): coverage {line["coverage"]:F3}, hallucination {line["hallucination"]:F3}");
        }

        void Best(Dictionary<string, object?> line, SampleReport report)
        {
            (line["benchmark"], line["questions"], line["too_long"]) = (BestOfN, report.Questions, report.TooLong);
            foreach ((string name, Func<Merit, double> value) in new (string, Func<Merit, double>)[]
            {
                ("all", merit => merit.All), ("picked", merit => merit.Picked), ("low", merit => merit.Low), ("high", merit => merit.High), ("longest", merit => merit.Longest), ("highest", merit => merit.Highest),
            })
                line[name] = report.Merits.ToDictionary(merit => merit.Key, merit => value(merit.Value));
            tell($"{line["file"]} ({BestOfN}): {string.Join(", ", report.Merits.Select(merit => $"{merit.Key} {merit.Value.All:F3} -> {merit.Value.Picked:F3} [{merit.Value.Low:F3}, {merit.Value.High:F3}], longest {merit.Value.Longest:F3}, highest {merit.Value.Highest:F3}"))}");
        }
    }
}
