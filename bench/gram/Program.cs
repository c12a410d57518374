// Makes the experiments' files of the published sets: gram SOURCE TARGET.
using System.IO.Compression;
using System.Text.Encodings.Web;
using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

const int PairsPerPrompt = 40, TestPairsPerPrompt = 20, AnswersPerPrompt = 60, HarmlessTrain = 2000, Seed = 1;
const int PoolPairs = 1000, Targets = 200, MarginPairsPerPrompt = 20; // LRHP
const int AnswerLength = 2000, PairLength = 2500; // characters: two such answers fit a judge of 1,536 tokens; such pairs are quick to represent
const double LeastMargin = 0.3; // probabilities to beat the reference that differ by less are noise
JsonSerializerOptions form = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
if (args is not [var source, var target])
{
    Console.Error.WriteLine("gram SOURCE TARGET: the folder of the published sets, and one for the experiments' files.");
    return 1;
}
Directory.CreateDirectory(target);
AlpacaEval alpaca = AlpacaEval.Open(source);
IReadOnlyList<PreferencePair> train = alpaca.Pairs(AlpacaSplit.Train, PairsPerPrompt, LeastMargin, Seed);
Write("train", train.Select(Row));
// As many pairs whose better answer is longer as whose worse one is.
Write("train-balanced", LengthBalance.Of(train, pair => pair).Select(Row));
Write("validation", alpaca.Pairs(AlpacaSplit.Validation, 4, LeastMargin, Seed).Select(Row));
Write("alpaca", alpaca.Pairs(AlpacaSplit.Test, TestPairsPerPrompt, LeastMargin, Seed).Select(Row));
Write("unlabelled", alpaca.Unlabelled(AlpacaSplit.Train).Select(set => (object)new { prompt = set.Prompt[0].Content, responses = Drawn(set.Responses) }));
Write("pandalm", PandaLm.Pairs(Path.Combine(source, "pandalm.jsonl.gz"), new()).Select(Row));

// Published files as they are; of RM-Bench every fourth item.
foreach ((string name, int every) in new[] { ("hhh_alignment", 1), ("judgebench", 1), ("rm_bench", 4) })
    WriteLines(name, DataFile.Read(Path.Combine(source, $"{name}.jsonl.gz")).Where((_, index) => index % every == 0).Select(row => row.ToJson()));

// Best of n: held-out prompts, each with as many draws as make 32 answers, in random order; a score is the probability to beat the reference.
ResponseSet[] judged = [.. alpaca.Rankings(AlpacaSplit.Test, withTies: true).Select(Short).Where(set => set.Responses.Count >= 32)];
foreach (int size in new[] { 2, 4, 8, 16, 32 })
    Write($"best-of-{size}", judged.SelectMany((set, index) => Draws(set, size, index)));

// hh's harmless replies, split by prompt.
PreferencePair[][] harmless = [.. PreferenceData.Pairs(Path.Combine(source, "hh_harmless_test.jsonl.gz"), new()).GroupBy(pair => pair.Cluster).Select(pairs => pairs.Select(pair => pair with { Subset = "harmless" }).ToArray())];
new Random(Seed).Shuffle(harmless);
int prompts = 0;
for (int pairs = 0; pairs < HarmlessTrain; prompts++)
    pairs += harmless[prompts].Length;
PreferencePair[] adapt = [.. harmless[..prompts].SelectMany(pairs => pairs)], held = [.. harmless[prompts..].SelectMany(pairs => pairs)];
Write("harmless-train", adapt.Select(Row));
Write("harmless-test", held.Select(Row));

// LRHP: a pool of which a third is like the targets; what is left of the harmless pairs tests.
PreferencePair[] small = [.. adapt.Where(Quick)];
PreferencePair[] targets = small[..Targets], alike = small[Targets..(Targets + PoolPairs)];
PreferencePair[] other = [.. train.Where(Quick)];
new Random(Seed).Shuffle(other);
PreferencePair[] pool = [.. alike, .. other[..(2 * PoolPairs)]];
new Random(Seed).Shuffle(pool);
HashSet<string> seen = [.. targets.Concat(alike).Select(pair => pair.Cluster)];
Write("lrhp-targets", targets.Select(Row));
Write("lrhp-pool", pool.Select(Row));
Write("lrhp-train", pool.Concat(other[(2 * PoolPairs)..(8 * PoolPairs)]).Select(Row));
Write("lrhp-test", small.Where(pair => !seen.Contains(pair.Cluster)).Concat(held.Where(Quick)).Select(Row));
Write("lrhp-margins", alpaca.Pairs(AlpacaSplit.Validation, MarginPairsPerPrompt, 0.02, Seed).Where(Quick).Select(Row));
return 0;

bool Quick(PreferencePair pair) => pair.Prompt.Sum(message => message.Content.Length) + pair.Chosen.Length + pair.Rejected.Length <= PairLength;

ResponseSet Short(ResponseSet set)
{
    int[] kept = [.. Enumerable.Range(0, set.Responses.Count).Where(index => set.Responses[index].Length <= AnswerLength)];
    return set with { Responses = [.. kept.Select(index => set.Responses[index])], Scores = [.. kept.Select(index => set.Scores![index])] };
}

IEnumerable<object> Draws(ResponseSet set, int size, int index)
{
    int[] order = [.. Enumerable.Range(0, set.Responses.Count)];
    new Random(Seed + index).Shuffle(order);
    return order.Take(32).Chunk(size).Select(drawn => (object)new { prompt = set.Prompt[0].Content, responses = drawn.Select(answer => set.Responses[answer]), scores = drawn.Select(answer => set.Scores![answer]) });
}

string[] Drawn(IReadOnlyList<string> answers)
{
    string[] shuffled = [.. answers];
    new Random(Seed).Shuffle(shuffled);
    return shuffled[..Math.Min(AnswersPerPrompt, shuffled.Length)];
}

object Row(PreferencePair pair) => new
{
    prompt = pair.Prompt is [var only] ? (object)only.Content : pair.Prompt.Select(message => new { role = message.Role, content = message.Content }),
    chosen = pair.Chosen,
    rejected = pair.Rejected,
    margin = pair.Margin,
    subset = pair.Subset,
};

void Write(string name, IEnumerable<object> rows) => WriteLines(name, rows.Select(row => JsonSerializer.Serialize(row, form)));

void WriteLines(string name, IEnumerable<string> lines)
{
    int count = 0;
    using StreamWriter writer = new(new GZipStream(File.Create(Path.Combine(target, $"{name}.jsonl.gz")), CompressionLevel.SmallestSize));
    foreach (string line in lines)
    {
        writer.WriteLine(line);
        count++;
    }
    Console.WriteLine($"{name}: {count}");
}
