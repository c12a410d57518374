// Makes the experiments' files of the published sets: gram SOURCE TARGET.
using System.IO.Compression;
using System.Text.Encodings.Web;
using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

const int PairsPerPrompt = 40, TestPairsPerPrompt = 20, AnswersPerPrompt = 60, Seed = 1;
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
PreferencePair[] harmless = [.. PreferenceData.Pairs(Path.Combine(source, "hh_harmless_test.jsonl.gz"), new())];
new Random(Seed).Shuffle(harmless);
int held = harmless.Length / 10;
Write("harmless-test", harmless[..held].Select(Row));
Write("harmless-train", harmless[held..].Select(Row));
return 0;

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

void Write(string name, IEnumerable<object> rows)
{
    int count = 0;
    using StreamWriter writer = new(new GZipStream(File.Create(Path.Combine(target, $"{name}.jsonl.gz")), CompressionLevel.SmallestSize));
    foreach (object row in rows)
    {
        writer.WriteLine(JsonSerializer.Serialize(row, form));
        count++;
    }
    Console.WriteLine($"{name}: {count}");
}
