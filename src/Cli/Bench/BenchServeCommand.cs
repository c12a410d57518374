using System.CommandLine;
using System.Diagnostics;
using System.Globalization;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench serve</c>: load on a running server, with the flags, titles and keys of <c>vllm bench serve</c>.</summary>
internal sealed class BenchServeCommand : Command
{
    private readonly Option<string> backend = EngineFlags.Choice("--backend", "Kind of endpoint.", "openai", "openai", "openai-chat", "vllm");
    private readonly Option<string?> baseUrl = new("--base-url") { Description = "Server, instead of --host and --port." };
    private readonly Option<string> host = new("--host") { Description = "Server.", DefaultValueFactory = _ => "127.0.0.1" };
    private readonly Option<int> port = new("--port") { Description = "Its port.", DefaultValueFactory = _ => 8000 };
    private readonly Option<string?> endpoint = new("--endpoint") { Description = "Path (default: /v1/completions or /v1/chat/completions)." };
    private readonly Option<string?> model = new("--model") { Description = "Name of the model (default: the first that the server lists)." };
    private readonly Option<string> dataset = EngineFlags.Choice("--dataset-name", "Where prompts come from.", "random", "random");
    private readonly Option<int> prompts = new("--num-prompts") { Description = "Requests.", DefaultValueFactory = _ => 1000 };
    private readonly Option<int> inputLength = new("--random-input-len") { Description = "Tokens of each prompt.", DefaultValueFactory = _ => 1024 };
    private readonly Option<int> outputLength = new("--random-output-len") { Description = "Tokens of each answer.", DefaultValueFactory = _ => 128 };
    private readonly Option<string> rate = new("--request-rate") { Description = "Requests per second; 'inf' sends all at once.", DefaultValueFactory = _ => "inf" };
    private readonly Option<double> burstiness = new("--burstiness") { Description = "1: Poisson arrivals; less: burstier; more: steadier.", DefaultValueFactory = _ => 1 };
    private readonly Option<int?> concurrency = new("--max-concurrency") { Description = "Most requests at once." };
    private readonly Option<int> warmups = new("--num-warmups") { Description = "Requests before the measurement." };
    private readonly Option<bool> ignoreEos = new("--ignore-eos") { Description = "Answers always have their full length." };
    private readonly Option<int> seed = new("--seed") { Description = "Names the random prompts and arrivals." };
    private readonly Option<double?> temperature = new("--temperature") { Description = "Temperature of the requests." };
    private readonly Option<string> metrics = new("--percentile-metrics") { Description = "Metrics with percentiles.", DefaultValueFactory = _ => "ttft,tpot,itl,e2el" };
    private readonly Option<string> percentiles = new("--metric-percentiles") { Description = "Which percentiles.", DefaultValueFactory = _ => "99" };
    private readonly Option<string[]> goodput = Several("--goodput", "Limits in milliseconds that good requests keep, such as ttft:500 tpot:50 e2el:5000.");
    private readonly Option<int?> logprobs = new("--logprobs") { Description = "Log-probabilities per token to ask for." };
    private readonly Option<string[]> headers = Several("--header", "Headers to send: NAME=VALUE.");
    private readonly Option<string[]> metadata = Several("--metadata", "What else to save with the results: KEY=VALUE.");
    private readonly Option<string?> label = new("--label") { Description = "Name of the run in the saved results (default: the kind of endpoint)." };
    private readonly Option<bool> detailed = new("--save-detailed") { Description = "Save the figures of every request, too." };
    private readonly Option<string?> apiKey = new("--api-key") { Description = "Key to send (default: the environment variable OPENAI_API_KEY)." };
    private readonly Option<bool> save = new("--save-result") { Description = "Save the results as JSON." };
    private readonly Option<string> folder = new("--result-dir") { Description = "Folder for them.", DefaultValueFactory = _ => "." };
    private readonly Option<string?> file = new("--result-filename") { Description = "Their file." };

    public BenchServeCommand() : base("serve", "Measures a running server.")
    {
        foreach (Option option in new Option[]
        {
            backend, baseUrl, host, port, endpoint, model, dataset, prompts, inputLength, outputLength, rate, burstiness, concurrency, warmups,
            ignoreEos, seed, temperature, metrics, percentiles, goodput, logprobs, headers, metadata, label, detailed, apiKey, save, folder, file,
        })
            Options.Add(option);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        double perSecond = result.GetValue(rate) == "inf" ? double.PositiveInfinity
            : double.TryParse(result.GetValue(rate), CultureInfo.InvariantCulture, out double parsed) && parsed > 0 ? parsed
            : throw new ArgumentException("--request-rate must be a number above 0 or 'inf'.");
        foreach (Option<int> count in new[] { prompts, inputLength, outputLength })
            if (result.GetValue(count) < 1)
                throw new ArgumentException($"{count.Name} must be at least 1.");
        if (result.GetValue(concurrency) < 1 || !(result.GetValue(burstiness) > 0))
            throw new ArgumentException("--max-concurrency must be at least 1 and --burstiness above 0.");
        double[] percents = [.. result.GetValue(percentiles)!.Split(',').Select(text => double.TryParse(text, CultureInfo.InvariantCulture, out double percent) && percent is >= 0 and <= 100
            ? percent : throw new ArgumentException($"--metric-percentiles: '{text}' is no percentage."))];
        Goodput limits = new(result.GetValue(goodput) ?? []);
        (string, string)[] extra = Pairs(result, metadata);
        bool chat = result.GetValue(backend) == "openai-chat";
        using LoadClient client = new(
            new Uri(result.GetValue(baseUrl) ?? $"http://{result.GetValue(host)}:{result.GetValue(port)}"),
            result.GetValue(endpoint) ?? (chat ? "/v1/chat/completions" : "/v1/completions"), chat,
            result.GetValue(apiKey) ?? Environment.GetEnvironmentVariable("OPENAI_API_KEY"), Pairs(result, headers))
        {
            OutputLength = result.GetValue(outputLength), IgnoreEos = result.GetValue(ignoreEos), Temperature = result.GetValue(temperature), Logprobs = result.GetValue(logprobs),
        };
        client.Model = result.GetValue(model) ?? await client.FirstModelAsync(cancel);
        Random random = new(result.GetValue(seed));
        int[][] ids = [.. Enumerable.Range(0, result.GetValue(prompts)).Select(_ => LoadClient.RandomPrompt(random, result.GetValue(inputLength)))];
        for (int i = 0; i < result.GetValue(warmups); i++)
            await client.SendAsync(ids[i % ids.Length], cancel);

        using SemaphoreSlim places = new(result.GetValue(concurrency) ?? ids.Length);
        List<Task<LoadResult>> requests = [];
        long start = Stopwatch.GetTimestamp();
        double due = 0;
        foreach (int[] prompt in ids)
        {
            if (double.IsFinite(perSecond))
            {
                due += LoadClient.Interval(random, perSecond, result.GetValue(burstiness));
                double wait = due - Stopwatch.GetElapsedTime(start).TotalSeconds;
                if (wait > 0)
                    await Task.Delay(TimeSpan.FromSeconds(wait), cancel);
            }
            requests.Add(Place(places, client, prompt, cancel));
        }
        LoadResult[] results = await Task.WhenAll(requests);
        LoadReport report = new(results, Stopwatch.GetElapsedTime(start).TotalSeconds, perSecond, result.GetValue(concurrency), percents, result.GetValue(metrics)!.Split(','), limits);
        report.Print(Console.Out);
        if (results.FirstOrDefault(item => item.Error is not null) is { } failed)
            Console.Error.WriteLine($"The first failure: {failed.Error}");
        if (result.GetValue(save) || result.GetValue(detailed))
        {
            string name = result.GetValue(file) ?? string.Create(CultureInfo.InvariantCulture, $"{result.GetValue(label) ?? result.GetValue(backend)}-{result.GetValue(rate)}qps-{client.Model}-{DateTime.Now:yyyyMMdd-HHmmss}.json");
            Directory.CreateDirectory(result.GetValue(folder)!);
            await File.WriteAllTextAsync(Path.Combine(result.GetValue(folder)!, name), report.Json(result.GetValue(backend)!, client.Model, result.GetValue(burstiness), result.GetValue(label), extra, result.GetValue(detailed)), cancel);
        }
        return results.Any(item => item.Error is null) ? 0 : 1;
    }

    private static Option<string[]> Several(string name, string description) =>
        new(name) { Description = description, AllowMultipleArgumentsPerToken = true };

    private static (string Name, string Value)[] Pairs(ParseResult result, Option<string[]> option) =>
        [.. (result.GetValue(option) ?? []).Select(text => text.IndexOf('=', StringComparison.Ordinal) is > 0 and int at
            ? (text[..at], text[(at + 1)..]) : throw new ArgumentException($"{option.Name}: '{text}' is not NAME=VALUE."))];

    private static async Task<LoadResult> Place(SemaphoreSlim places, LoadClient client, int[] prompt, CancellationToken cancel)
    {
        await places.WaitAsync(cancel);
        try
        {
            return await client.SendAsync(prompt, cancel);
        }
        finally
        {
            places.Release();
        }
    }
}
