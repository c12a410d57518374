// Pairs a second of a judge: the engine with and without shared beginnings, and TorchSharp's own forward, in turns on the same pairs.
using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;
using XDeepServe.Training;
using XDeepServe.Training.Network;
using XDeepServe.Training.Running;
using XDeepServe.Training.Stages;

const int AtOnce = 32, Rounds = 3, MaxLength = 2048;
if (args is not [var path, var data, var responsesText, var promptsText])
{
    Console.Error.WriteLine("score MODEL DATA RESPONSES PROMPTS: a judge, a file of prompts with responses, how many of each prompt meet each other, and of how many prompts.");
    return 1;
}
int responses = int.Parse(responsesText, CultureInfo.InvariantCulture), prompts = int.Parse(promptsText, CultureInfo.InvariantCulture), threads = Environment.ProcessorCount;

TrainingSettings settings = new() { MaxLength = MaxLength, PerDeviceEvalBatchSize = 8 };
torch.set_num_threads(threads);
using BaseModel trained = new(path);
Stage stage = Run.Make("gram", trained.Writer, settings);
using TrainedWeights weights = new(trained.Load(stage.Scoring, null, scratch: false, 0), _ => false, torch.ScalarType.Float32, torch.CPU);
Judge network = new(stage, new Decoder(trained.Shape, weights), settings);

using Checkpoint checkpoint = Checkpoint.Open(path);
using CpuBackend backend = new(new CpuOptions(Threads: threads, PinThreads: false));
using Model model = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: MaxLength));
Tokenizer tokenizer = checkpoint.LoadTokenizer()!;
PromptWriter writer = new(tokenizer, tokenizer.CreateTemplate());
EngineOptions options = new() { MaxModelLength = MaxLength, MaxSequences = AtOnce, NumBlocksOverride = 6000 };

PreferencePair[] pairs =
[
    .. PreferenceData.Unlabelled(data, new DataCounts()).DistinctBy(set => set.Cluster).Where(set => set.Responses.Count >= responses).Take(prompts).SelectMany(set =>
        from first in Enumerable.Range(0, responses)
        from second in Enumerable.Range(first + 1, responses - first - 1)
        select new PreferencePair { Prompt = set.Prompt, Chosen = set.Responses[first], Rejected = set.Responses[second] }),
];
double tokens = pairs.Average(pair => stage.Ask(pair)!.Average(example => example.Length));

List<double> shared = [], alone = [], torchs = [];
IReadOnlyList<Verdict> said = [], read = [];
network.Run(pairs[..2]); // warms up
await EngineAsync(caching: true, pairs[..2]);
for (int round = 0; round < Rounds; round++)
{
    (double speed, read) = await EngineAsync(caching: true, pairs);
    shared.Add(speed);
    alone.Add((await EngineAsync(caching: false, pairs)).Speed);
    long begun = Stopwatch.GetTimestamp();
    said = network.Run(pairs);
    torchs.Add(pairs.Length / Stopwatch.GetElapsedTime(begun).TotalSeconds);
}
double apart = said.Zip(read, (one, other) => Math.Abs(one.ChosenIsBetter!.Value - other.ChosenIsBetter!.Value)).Max();
Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
    $"| {Path.GetFileName(path)} | {responses} | {pairs.Length} | {tokens:F0} | {Median(shared):F2} | {Median(alone):F2} | {Median(torchs):F2} | {Median(shared) / Median(torchs):F2} | {apart:E1} |"));
return 0;

// From an empty cache, both orders of each pair.
async Task<(double Speed, IReadOnlyList<Verdict> Verdicts)> EngineAsync(bool caching, IReadOnlyList<PreferencePair> some)
{
    using TeShell shell = new(model, backend, tokenizer, options with { PrefixCaching = caching });
    using PromptReader reader = new(shell);
    Evaluator evaluator = new(new GenerativeRewardModel(reader, writer, new JudgePrompt()), AtOnce);
    long begun = Stopwatch.GetTimestamp();
    IReadOnlyList<Verdict> verdicts = await evaluator.RunAsync(some);
    return (some.Count / Stopwatch.GetElapsedTime(begun).TotalSeconds, verdicts);
}

static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
