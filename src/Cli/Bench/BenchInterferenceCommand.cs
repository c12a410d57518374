using System.CommandLine;
using System.Globalization;
using System.Text.Json;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench interference</c>: what long prompts do to answers that are being written, on a running server.</summary>
internal sealed class BenchInterferenceCommand : Command
{
    private readonly Option<string> url = new("--base-url") { Description = "The server.", DefaultValueFactory = _ => "http://127.0.0.1:8000" };
    private readonly Option<int> decoders = new("--decoders") { Description = "Answers that are written at any time.", DefaultValueFactory = _ => 8 };
    private readonly Option<int> decodeLength = new("--decode-len") { Description = "Tokens of each.", DefaultValueFactory = _ => 200 };
    private readonly Option<int> promptLength = new("--prompt-len") { Description = "Tokens of a long prompt.", DefaultValueFactory = _ => 2048 };
    private readonly Option<double> rate = new("--prompt-rate") { Description = "Long prompts per second.", DefaultValueFactory = _ => 1 };
    private readonly Option<double> seconds = new("--seconds") { Description = "Length of each of the two phases: without and with long prompts.", DefaultValueFactory = _ => 20 };
    private readonly Option<double> tokenLimit = new("--slo-tpot") { Description = "Milliseconds per token that an answer may take to count as good.", DefaultValueFactory = _ => 50 };
    private readonly Option<double> firstLimit = new("--slo-ttft") { Description = "Milliseconds to the first token that a long prompt may take to count as good.", DefaultValueFactory = _ => 2000 };
    private readonly Option<int> vocabulary = new("--vocab-size") { Description = "Prompts are random ids below this.", DefaultValueFactory = _ => 8000 };
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON object." };

    public BenchInterferenceCommand() : base("interference", "Measures what long prompts do to answers that are being written.")
    {
        foreach (Option option in new Option[] { url, decoders, decodeLength, promptLength, rate, seconds, tokenLimit, firstLimit, vocabulary, json })
            Options.Add(option);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult result, CancellationToken cancel)
    {
        if (!(result.GetValue(rate) > 0) || !(result.GetValue(seconds) > 0) || result.GetValue(decoders) < 1 || result.GetValue(decodeLength) < 2)
            throw new ArgumentException("--prompt-rate and --seconds must be above 0, --decoders at least 1 and --decode-len at least 2.");
        using LoadClient client = new(new Uri(result.GetValue(url)!), "/v1/completions", chat: false, null, []) { IgnoreEos = true, Temperature = 0 };
        client.Model = await client.FirstModelAsync(cancel);
        await client.SendAsync(Load(result, new Random(1), 16, 4), cancel);
        Phase alone = await PhaseAsync(result, client, prompts: false, cancel), beside = await PhaseAsync(result, client, prompts: true, cancel);
        if (result.GetValue(json))
            Console.WriteLine(JsonSerializer.Serialize(new { alone, beside }));
        else
            foreach ((string name, Phase phase) in new[] { ("answers alone", alone), ("beside long prompts", beside) })
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{name}: {phase.Answers} answers, TPOT p50 {phase.TokenMedian:F2} ms, p99 {phase.TokenTail:F2} ms; gap between tokens p99 {phase.GapTail:F1} ms; {phase.Goodput:F2} good answers/s; {phase.Prompts} long prompts, TTFT p50 {phase.FirstMedian:F0} ms, p99 {phase.FirstTail:F0} ms, {phase.PromptGoodput:F2} good/s; {phase.Failures} failures"));
        return alone.Failures + beside.Failures == 0 ? 0 : 1;
    }

    private async Task<Phase> PhaseAsync(ParseResult result, LoadClient client, bool prompts, CancellationToken cancel)
    {
        double span = result.GetValue(seconds);
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        over.CancelAfter(TimeSpan.FromSeconds(span));
        Task<List<LoadResult>>[] writers = [.. Enumerable.Range(0, result.GetValue(decoders)).Select(index => WriteAsync(result, client, new Random(index), over.Token, cancel))];
        List<Task<LoadResult>> readers = [];
        Random random = new(99);
        Arrivals arrivals = new(random, result.GetValue(rate), 1, null, 0, 0);
        while (prompts && !over.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(TimeSpan.FromSeconds(arrivals.Interval(0)), over.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                break;
            }
            readers.Add(client.SendAsync(Load(result, random, result.GetValue(promptLength), 1), cancel));
        }
        List<LoadResult> answers = [.. (await Task.WhenAll(writers)).SelectMany(list => list)], read = [.. await Task.WhenAll(readers)];
        LoadResult[] good = [.. answers.Where(answer => answer.Error is null)], first = [.. read.Where(answer => answer.Error is null)];
        Summary token = new(good.Select(answer => 1000 * answer.TimePerToken)), firsts = new(first.Select(answer => 1000 * answer.FirstToken));
        Summary gaps = new(good.SelectMany(answer => answer.Tokens.Zip(answer.Tokens.Skip(1), (one, next) => 1000 * (next - one))));
        return new Phase(
            good.Length, token.Median, token.Percentile(99), gaps.Percentile(99), good.Count(answer => 1000 * answer.TimePerToken <= result.GetValue(tokenLimit)) / span,
            first.Length, firsts.Median, firsts.Percentile(99), first.Count(answer => 1000 * answer.FirstToken <= result.GetValue(firstLimit)) / span,
            answers.Count - good.Length + read.Count - first.Length);
    }

    // Answers that have begun are read to their end, so that the slow ones count.
    private async Task<List<LoadResult>> WriteAsync(ParseResult result, LoadClient client, Random random, CancellationToken over, CancellationToken cancel)
    {
        List<LoadResult> answers = [];
        while (!over.IsCancellationRequested)
            answers.Add(await client.SendAsync(Load(result, random, 32, result.GetValue(decodeLength)), cancel));
        return answers;
    }

    private LoadRequest Load(ParseResult result, Random random, int length, int output) =>
        new([.. Enumerable.Range(0, length).Select(_ => random.Next(result.GetValue(vocabulary)))], null, output);

    /// <summary>What one phase showed; times in milliseconds, goodput per second.</summary>
    private sealed record Phase(
        int Answers, double TokenMedian, double TokenTail, double GapTail, double Goodput,
        int Prompts, double FirstMedian, double FirstTail, double PromptGoodput, int Failures);
}
