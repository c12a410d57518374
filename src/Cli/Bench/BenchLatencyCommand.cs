using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cuda;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench latency</c>: how long a batch takes in this process, with the flags and keys of <c>vllm bench latency</c>.</summary>
internal sealed class BenchLatencyCommand : Command
{
    private static readonly double[] Percents = [10, 25, 50, 75, 90, 99];
    private readonly Option<int> inputLength = new("--input-len") { Description = "Tokens of each prompt.", DefaultValueFactory = _ => 32 };
    private readonly Option<int> outputLength = new("--output-len") { Description = "Tokens of each answer.", DefaultValueFactory = _ => 128 };
    private readonly Option<int> batchSize = new("--batch-size") { Description = "Requests at once.", DefaultValueFactory = _ => 8 };
    private readonly Option<int> warmups = new("--num-iters-warmup") { Description = "Rounds before the measurement.", DefaultValueFactory = _ => 10 };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Rounds measured.", DefaultValueFactory = _ => 30 };
    private readonly Option<string?> output = new("--output-json") { Description = "File for the results." };
    private readonly EngineFlags engine;

    public BenchLatencyCommand() : base("latency", "Measures the latency of a batch in this process.")
    {
        foreach (Option option in new Option[] { inputLength, outputLength, batchSize, warmups, rounds, output })
            Options.Add(option);
        engine = new EngineFlags(this);
        foreach (Option<int> count in new[] { inputLength, outputLength, batchSize, rounds })
            count.Validators.Add(value =>
            {
                if (value.Tokens.Count > 0 && value.GetValueOrDefault<int>() < 1)
                    value.AddError($"{count.Name} must be at least 1.");
            });
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = engine.Read(result) with { SkipTokenizer = true };
        // Every round sends the same prompts: found in the cache they would not be measured.
        settings = settings with { Engine = settings.Engine with { PrefixCaching = false } };
        using LoadedEngine loaded = LoadedEngine.Open(settings);
        Random random = new(0);
        int vocabulary = loaded.Model.Config.VocabularySize, tokens = result.GetValue(outputLength);
        int[][] prompts = [.. Enumerable.Range(0, result.GetValue(batchSize)).Select(_ => Enumerable.Range(0, result.GetValue(inputLength)).Select(_ => random.Next(vocabulary)).ToArray())];
        for (int i = 0; i < result.GetValue(warmups); i++)
            await Round(loaded, prompts, tokens, [], []);
        (loaded.Backend as CudaBackend)?.WatchSteps();
        List<double> latencies = [], prefill = [], decode = [], firsts = [], perToken = [];
        for (int i = 0; i < result.GetValue(rounds); i++)
        {
            latencies.Add(await Round(loaded, prompts, tokens, firsts, perToken));
            (double first, double later) = await Single(loaded, prompts[0], tokens);
            prefill.Add(prompts[0].Length / first);
            if (tokens > 1)
                decode.Add((tokens - 1) / later);
        }
        Print(result, loaded, new Summary(latencies), new Summary(prefill), new Summary(decode), latencies);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"All {prompts.Length} at once, median of a request: first token after {new Summary(firsts).Median * 1000:F1} ms, then {new Summary(perToken).Median * 1000:F2} ms a token"));
        if (loaded.Backend is CudaBackend gpu)
        {
            foreach ((long shape, int steps, double seconds, double gap) in gpu.WatchedSteps())
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"Step on the GPU, {shape >> 32} sequences, up to {shape & 0xFFFFFFFF} blocks: {seconds * 1000:F3} ms and {gap * 1000:F3} ms to the next, medians of {steps}"));
            if (gpu.Recordings is { Steps: > 0 } recorded)
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"Recorded {recorded.Steps} shapes of a step, {recorded.Seconds / recorded.Steps * 1000:F1} ms and {(double)recorded.Bytes / recorded.Steps / (1 << 20):F1} MiB each"));
        }
        return 0;
    }

    private static async Task<double> Round(LoadedEngine loaded, int[][] prompts, int tokens, List<double> firsts, List<double> perToken)
    {
        long start = Stopwatch.GetTimestamp();
        (double First, double Later)[] times = await Task.WhenAll(prompts.Select(prompt => Single(loaded, prompt, tokens)));
        firsts.AddRange(times.Select(time => time.First));
        perToken.AddRange(times.Select(time => time.Later / Math.Max(1, tokens - 1)));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Seconds to the first token, and from there to the last.</summary>
    private static async Task<(double First, double Later)> Single(LoadedEngine loaded, int[] prompt, int tokens)
    {
        long start = Stopwatch.GetTimestamp(), first = 0;
        using Generation generation = loaded.Shell.Submit(new GenerationRequest
        {
            Id = "bench",
            Prompt = prompt,
            Sampling = new SamplingParameters { Temperature = 0, MaxTokens = tokens, IgnoreEos = true, Detokenize = false },
        });
        await foreach (OutputDelta delta in generation)
        {
            if (delta.FinishReason == "error")
                throw new ArgumentException($"The engine failed: {generation.Failure?.Message}");
            if (first == 0)
                first = Stopwatch.GetTimestamp();
        }
        return (Stopwatch.GetElapsedTime(start, first).TotalSeconds, Stopwatch.GetElapsedTime(first).TotalSeconds);
    }

    private void Print(ParseResult result, LoadedEngine loaded, Summary latency, Summary prefill, Summary decode, List<double> latencies)
    {
        CultureInfo plain = CultureInfo.InvariantCulture;
        Console.WriteLine(string.Create(plain, $"Avg latency: {latency.Mean} seconds"));
        foreach (double percent in Percents)
            Console.WriteLine(string.Create(plain, $"{percent}% percentile latency: {latency.Percentile(percent)} seconds"));
        Console.WriteLine(string.Create(plain, $"One request, median: prefill {prefill.Median:F1} tokens/s, decode {decode.Median:F1} tokens/s ({loaded.Backend.Description})"));
        if (result.GetValue(output) is not { } path)
            return;
        JsonObject json = new()
        {
            ["avg_latency"] = latency.Mean,
            ["latencies"] = new JsonArray([.. latencies.Select(value => (JsonNode)value)]),
            ["percentiles"] = new JsonObject(Percents.Select(percent => KeyValuePair.Create(percent.ToString(plain), (JsonNode?)latency.Percentile(percent)))),
            ["prefill_tokens_per_s"] = prefill.Median,
            ["decode_tokens_per_s"] = decode.Median,
            ["backend"] = loaded.Backend.Description,
        };
        File.WriteAllText(path, json.ToJsonString() + "\n");
    }
}
