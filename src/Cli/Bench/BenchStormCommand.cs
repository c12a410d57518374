using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>
/// <c>xds bench storm</c>: many requests of mixed lengths, of which some are left at random moments; then the server must be as
/// empty as before. Fails if an answer was neither whole nor a clean refusal, or if anything is left.
/// </summary>
internal sealed class BenchStormCommand : Command
{
    private static readonly TimeSpan s_settling = TimeSpan.FromSeconds(60);
    private static readonly string[] s_mustBeZero = ["kv_cache_usage_perc", "num_requests_running", "num_requests_waiting", "requests_arriving", "requests_held", "kv_transfers_under_way"];
    private readonly Option<string> url = new("--base-url") { Description = "The server.", DefaultValueFactory = _ => "http://127.0.0.1:8000" };
    private readonly Option<int> requests = new("--num-requests") { Description = "Requests in all; 0 for as many as fit into --seconds.", DefaultValueFactory = _ => 1000 };
    private readonly Option<double> seconds = new("--seconds") { Description = "Longest time in which requests are begun.", DefaultValueFactory = _ => 3600 };
    private readonly Option<int> concurrency = new("--max-concurrency") { Description = "Requests at once.", DefaultValueFactory = _ => 64 };
    private readonly Option<double> aborts = new("--abort-share") { Description = "Share of requests that are left before their end.", DefaultValueFactory = _ => 0.4 };
    private readonly Option<int> longest = new("--max-prompt-len") { Description = "Longest prompt, in tokens; most are short.", DefaultValueFactory = _ => 600 };
    private readonly Option<int> mostNew = new("--max-output-len") { Description = "Most tokens of an answer.", DefaultValueFactory = _ => 48 };
    private readonly Option<int> vocabulary = new("--vocab-size") { Description = "Prompts are random ids below this.", DefaultValueFactory = _ => 8000 };
    private readonly Option<int> seed = new("--seed") { Description = "Chooses lengths and moments." };

    public BenchStormCommand() : base("storm", "Sends mixed requests, leaves some at random moments, and checks that nothing stays behind.")
    {
        foreach (Option option in new Option[] { url, requests, seconds, concurrency, aborts, longest, mostNew, vocabulary, seed })
            Options.Add(option);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult result, CancellationToken cancel)
    {
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false, MaxResponseDrainSize = 0 }) { BaseAddress = new Uri(result.GetValue(url)!), Timeout = TimeSpan.FromMinutes(5) };
        long start = Stopwatch.GetTimestamp();
        int begun = 0, most = result.GetValue(requests) > 0 ? result.GetValue(requests) : int.MaxValue;
        Dictionary<string, int> outcomes = [];
        await Task.WhenAll(Enumerable.Range(0, result.GetValue(concurrency)).Select(async _ =>
        {
            while (Interlocked.Increment(ref begun) is var number && number <= most && Stopwatch.GetElapsedTime(start).TotalSeconds < result.GetValue(seconds))
            {
                string outcome = await OneAsync(client, result, new Random(result.GetValue(seed) + number), cancel);
                lock (outcomes)
                    outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
            }
        }));
        double took = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{outcomes.Values.Sum()} requests in {took:F1} s: {string.Join(", ", outcomes.OrderByDescending(pair => pair.Value).Select(pair => $"{pair.Value} {pair.Key}"))}"));
        List<string> left = await SettleAsync(client, cancel);
        Console.WriteLine(left.Count == 0 ? "Nothing is left behind." : $"Left behind: {string.Join("; ", left)}");
        return left.Count == 0 && outcomes.Keys.All(outcome => outcome is "answered" or "left" or "refused") ? 0 : 1;
    }

    private async Task<string> OneAsync(HttpClient client, ParseResult result, Random random, CancellationToken cancel)
    {
        // Lengths of every size class alike: 1, 2, 4, … up to the longest.
        int length = (int)Math.Exp(random.NextDouble() * Math.Log(result.GetValue(longest) + 1)), output = 1 + random.Next(result.GetValue(mostNew));
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        bool leaves = random.NextDouble() < result.GetValue(aborts);
        if (leaves)
            patience.CancelAfter(TimeSpan.FromMilliseconds(Math.Exp(random.NextDouble() * Math.Log(2000))));
        JsonObject body = new()
        {
            ["prompt"] = new JsonArray([.. Enumerable.Range(0, length).Select(_ => (JsonNode)random.Next(result.GetValue(vocabulary)))]),
            ["max_tokens"] = output,
            ["ignore_eos"] = true,
            ["temperature"] = random.Next(2),
            ["n"] = random.Next(8) == 0 ? 2 : 1,
            ["stream"] = random.Next(3) > 0,
            ["return_token_ids"] = true,
        };
        int expected = output * (int)body["n"]!;
        try
        {
            using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions") { Content = JsonContent.Create(body) };
            using HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token);
            string text = await response.Content.ReadAsStringAsync(patience.Token);
            if ((int)response.StatusCode is 429 or 503)
                return "refused";
            if (!response.IsSuccessStatusCode)
                return $"failed ({(int)response.StatusCode}: {text[..Math.Min(text.Length, 200)]})";
            int tokens = (bool)body["stream"]!
                ? text.Split('\n').Where(line => line.StartsWith("data: {", StringComparison.Ordinal)).Sum(line => Tokens(JsonNode.Parse(line[6..])))
                : Tokens(JsonNode.Parse(text));
            return tokens == expected ? "answered" : text.Contains("\"error\"", StringComparison.Ordinal) ? "ended with an error" : $"cut short ({tokens} of {expected} tokens)";
        }
        catch (OperationCanceledException) when (leaves && !cancel.IsCancellationRequested)
        {
            return "left";
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException)
        {
            return $"lost ({failure.Message})";
        }
    }

    private static int Tokens(JsonNode? answer) => answer?["choices"] is JsonArray choices ? choices.Sum(choice => choice!["token_ids"] is JsonArray ids ? ids.Count : 0) : 0;

    /// <summary>Waits until all gauges that count what is in use are 0.</summary>
    /// <returns>Those that are not.</returns>
    private static async Task<List<string>> SettleAsync(HttpClient client, CancellationToken cancel)
    {
        for (long start = Stopwatch.GetTimestamp(); ; await Task.Delay(200, cancel))
        {
            List<string> left = [];
            int seen = 0;
            foreach (string line in (await client.GetStringAsync("/metrics", cancel)).Split('\n'))
            {
                string name = line.Split('{', ' ')[0];
                if (!s_mustBeZero.Any(end => name.EndsWith($":{end}", StringComparison.Ordinal)))
                    continue;
                seen++;
                if (!line.EndsWith(" 0", StringComparison.Ordinal))
                    left.Add(line);
            }
            if (seen == 0)
                left.Add("/metrics says nothing of caches and requests");
            if (left.Count == 0 || Stopwatch.GetElapsedTime(start) > s_settling)
                return left;
        }
    }
}
