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
    private readonly Option<string> dataset = EngineFlags.Choice("--dataset-name", "Where prompts come from.", "random", "random", "sharegpt", "custom", "prefix_repetition");
    private readonly Option<string?> datasetPath = new("--dataset-path") { Description = "File of a sharegpt or custom data set." };
    private readonly Option<string?> tokenizer = new("--tokenizer") { Description = "Noted in the results as tokenizer_id: the server counts tokens, none is needed here." };
    private readonly Option<int> prompts = new("--num-prompts") { Description = "Requests.", DefaultValueFactory = _ => 1000 };
    private readonly Option<int> inputLength = new("--random-input-len") { Description = "Tokens of each prompt.", DefaultValueFactory = _ => 1024 };
    private readonly Option<int> outputLength = new("--random-output-len") { Description = "Tokens of each answer.", DefaultValueFactory = _ => 128 };
    private readonly Option<int> randomPrefix = new("--random-prefix-len") { Description = "Tokens that all random prompts begin with." };
    private readonly Option<double> rangeRatio = new("--random-range-ratio") { Description = "Lengths are drawn from [1 - ratio, 1 + ratio] times the asked ones." };
    private readonly Option<int?> shareLength = new("--sharegpt-output-len") { Description = "Tokens of each answer to a ShareGPT prompt (default: --random-output-len)." };
    private readonly Option<int> customLength = new("--custom-output-len") { Description = "Tokens of each answer to a custom prompt that names none.", DefaultValueFactory = _ => 256 };
    private readonly Option<int> repeatedPrefix = new("--prefix-repetition-prefix-len") { Description = "Tokens of each shared prefix.", DefaultValueFactory = _ => 256 };
    private readonly Option<int> repeatedSuffix = new("--prefix-repetition-suffix-len") { Description = "Tokens behind it.", DefaultValueFactory = _ => 256 };
    private readonly Option<int> repeatedCount = new("--prefix-repetition-num-prefixes") { Description = "Different prefixes.", DefaultValueFactory = _ => 10 };
    private readonly Option<int> repeatedOutput = new("--prefix-repetition-output-len") { Description = "Tokens of each answer.", DefaultValueFactory = _ => 128 };
    private readonly Option<string> ramp = EngineFlags.Choice("--ramp-up-strategy", "How the rate rises over the run.", "none", "none", "linear", "exponential");
    private readonly Option<double?> rampStart = new("--ramp-up-start-rps") { Description = "Requests per second at the start of a ramp." };
    private readonly Option<double?> rampEnd = new("--ramp-up-end-rps") { Description = "Requests per second at its end." };
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
    private readonly Option<bool> append = new("--append-result") { Description = "Append to the file instead of writing it anew." };
    private readonly Option<string> folder = new("--result-dir") { Description = "Folder for them.", DefaultValueFactory = _ => "." };
    private readonly Option<string?> file = new("--result-filename") { Description = "Their file." };

    public BenchServeCommand() : base("serve", "Measures a running server.")
    {
        foreach (Option option in new Option[]
        {
            backend, baseUrl, host, port, endpoint, model, tokenizer, dataset, datasetPath, prompts, inputLength, outputLength, randomPrefix, rangeRatio,
            shareLength, customLength, repeatedPrefix, repeatedSuffix, repeatedCount, repeatedOutput, rate, burstiness, ramp, rampStart, rampEnd, concurrency, warmups,
            ignoreEos, seed, temperature, metrics, percentiles, goodput, logprobs, headers, metadata, label, detailed, apiKey, save, append, folder, file,
        })
            Options.Add(option);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        double perSecond = result.GetValue(rate) == "inf" ? double.PositiveInfinity
            : double.TryParse(result.GetValue(rate), CultureInfo.InvariantCulture, out double parsed) && parsed > 0 ? parsed
            : throw new ArgumentException("--request-rate must be a number above 0 or 'inf'.");
        foreach (Option<int> count in new[] { prompts, inputLength, outputLength, customLength, repeatedSuffix, repeatedOutput })
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
            IgnoreEos = result.GetValue(ignoreEos),
            Temperature = result.GetValue(temperature),
            Logprobs = result.GetValue(logprobs),
        };
        client.Model = result.GetValue(model) ?? await client.FirstModelAsync(cancel);
        Random random = new(result.GetValue(seed));
        LoadRequest[] loads = Requests(result, random);
        Arrivals arrivals = new(random, perSecond, result.GetValue(burstiness), Ramp(result), result.GetValue(rampStart) ?? 0, result.GetValue(rampEnd) ?? 0);
        for (int i = 0; i < result.GetValue(warmups); i++)
            await client.SendAsync(loads[i % loads.Length], cancel);

        using SemaphoreSlim places = new(result.GetValue(concurrency) ?? loads.Length);
        List<Task<LoadResult>> requests = [];
        long start = Stopwatch.GetTimestamp();
        double due = 0;
        foreach (LoadRequest load in loads)
        {
            due += arrivals.Interval((double)requests.Count / loads.Length);
            double wait = due - Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (wait > 0)
                await Task.Delay(TimeSpan.FromSeconds(wait), cancel);
            requests.Add(Place(places, client, load, cancel));
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
            string text = report.Json(result.GetValue(backend)!, client.Model, result.GetValue(tokenizer), result.GetValue(burstiness), result.GetValue(label), extra, result.GetValue(detailed));
            string path = Path.Combine(result.GetValue(folder)!, name);
            await (result.GetValue(append) ? File.AppendAllTextAsync(path, text, cancel) : File.WriteAllTextAsync(path, text, cancel));
        }
        return results.Any(item => item.Error is null) ? 0 : 1;
    }

    private LoadRequest[] Requests(ParseResult result, Random random)
    {
        int count = result.GetValue(prompts), output = result.GetValue(outputLength);
        string name = result.GetValue(dataset)!;
        string Data() => result.GetValue(datasetPath) ?? throw new ArgumentException($"--dataset-name {name} needs --dataset-path.");
        return name switch
        {
            "sharegpt" => LoadRequests.ShareGpt(random, Data(), count, result.GetValue(shareLength) ?? output),
            "custom" => LoadRequests.Custom(Data(), count, result.GetValue(customLength)),
            "prefix_repetition" => LoadRequests.PrefixRepetition(
                random, count, result.GetValue(repeatedCount), result.GetValue(repeatedPrefix), result.GetValue(repeatedSuffix), result.GetValue(repeatedOutput)),
            _ => LoadRequests.Random(random, count, result.GetValue(randomPrefix), result.GetValue(inputLength), output, result.GetValue(rangeRatio)),
        };
    }

    private string? Ramp(ParseResult result)
    {
        if (result.GetValue(ramp) == "none")
            return null;
        return result.GetValue(rampStart) > 0 && result.GetValue(rampEnd) > 0 ? result.GetValue(ramp)
            : throw new ArgumentException("--ramp-up-strategy needs --ramp-up-start-rps and --ramp-up-end-rps above 0.");
    }

    private static Option<string[]> Several(string name, string description) =>
        new(name) { Description = description, AllowMultipleArgumentsPerToken = true };

    private static (string Name, string Value)[] Pairs(ParseResult result, Option<string[]> option) =>
        [.. (result.GetValue(option) ?? []).Select(text => text.IndexOf('=', StringComparison.Ordinal) is > 0 and int at
            ? (text[..at], text[(at + 1)..]) : throw new ArgumentException($"{option.Name}: '{text}' is not NAME=VALUE."))];

    private static async Task<LoadResult> Place(SemaphoreSlim places, LoadClient client, LoadRequest load, CancellationToken cancel)
    {
        await places.WaitAsync(cancel);
        try
        {
            return await client.SendAsync(load, cancel);
        }
        finally
        {
            places.Release();
        }
    }
}
