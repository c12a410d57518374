using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>Figures of a run, printed and saved as <c>vllm bench serve</c> does.</summary>
internal sealed class LoadReport
{
    private readonly LoadResult[] completed;
    private readonly LoadResult[] results;
    private readonly Goodput goodput;
    private readonly int failed;
    private readonly double duration, rate;
    private readonly int? concurrency;
    private readonly double[] percents;
    private readonly (string Key, string Title, string Short, Summary Values)[] metrics;

    public LoadReport(LoadResult[] results, double duration, double rate, int? concurrency, double[] percents, string[] wanted, Goodput goodput)
    {
        (this.results, this.goodput) = (results, goodput);
        completed = [.. results.Where(result => result.Error is null)];
        failed = results.Length - completed.Length;
        (this.duration, this.rate, this.concurrency, this.percents) = (duration, rate, concurrency, percents);
        metrics =
        [
            .. new (string, string, string, Summary)[]
            {
                ("ttft", "Time to First Token", "TTFT", new Summary(completed.Select(result => result.FirstToken * 1000))),
                ("tpot", "Time per Output Token (excl. 1st token)", "TPOT", new Summary(completed.Where(result => result.Generated > 1).Select(result => result.TimePerToken * 1000))),
                ("itl", "Inter-token Latency", "ITL", new Summary(completed.SelectMany(result => result.Tokens.Zip(result.Tokens.Skip(1), (left, right) => (right - left) * 1000)))),
                ("e2el", "End-to-end Latency", "E2EL", new Summary(completed.Select(result => result.Latency * 1000))),
            }.Where(metric => wanted.Contains(metric.Item1)),
        ];
    }

    private int Input => completed.Sum(result => result.Prompt);

    private double GoodRate => completed.Count(goodput.Holds) / duration;

    private int Output => completed.Sum(result => result.Generated);

    private int PeakTokens => completed.SelectMany(result => result.Tokens).GroupBy(time => (long)time).Select(group => group.Count()).DefaultIfEmpty().Max();

    private int PeakRequests
    {
        get
        {
            int running = 0, most = 0;
            foreach ((double _, int change) in completed.SelectMany(result => new[] { (result.Start, 1), (result.End, -1) }).Order())
                most = Math.Max(most, running += change);
            return most;
        }
    }

    /// <summary>Prints the block.</summary>
    public void Print(TextWriter writer)
    {
        void Line(string title, string value) => writer.WriteLine($"{title + ":",-40} {value,-10}");
        void Number(string title, double value) => Line(title, value.ToString("F2", CultureInfo.InvariantCulture));
        writer.WriteLine(Centred(" Serving Benchmark Result ", '='));
        Line("Successful requests", $"{completed.Length}");
        Line("Failed requests", $"{failed}");
        if (concurrency is { } most)
            Line("Maximum request concurrency", $"{most}");
        if (double.IsFinite(rate))
            Number("Request rate configured (RPS)", rate);
        Number("Benchmark duration (s)", duration);
        Line("Total input tokens", $"{Input}");
        Line("Total generated tokens", $"{Output}");
        Number("Request throughput (req/s)", completed.Length / duration);
        if (goodput.Any)
            Number("Request goodput (req/s)", GoodRate);
        Number("Output token throughput (tok/s)", Output / duration);
        Number("Peak output token throughput (tok/s)", PeakTokens);
        Number("Peak concurrent requests", PeakRequests);
        Number("Total token throughput (tok/s)", (Input + Output) / duration);
        foreach ((string _, string title, string name, Summary values) in metrics)
        {
            writer.WriteLine(Centred(title, '-'));
            Number($"Mean {name} (ms)", values.Mean);
            Number($"Median {name} (ms)", values.Median);
            foreach (double percent in percents)
                Number(string.Create(CultureInfo.InvariantCulture, $"P{percent} {name} (ms)"), values.Percentile(percent));
        }
        writer.WriteLine(new string('=', 50));
    }

    /// <summary>The same as JSON.</summary>
    /// <param name="backend">Kind of endpoint.</param>
    /// <param name="model">Name of the model.</param>
    /// <param name="tokenizer">Name of the tokenizer (default: the model's).</param>
    /// <param name="burstiness">Of the arrivals.</param>
    /// <param name="label">Name of the run, if it has one.</param>
    /// <param name="metadata">What else to keep.</param>
    /// <param name="detailed">Keep the figures of every request.</param>
    public string Json(string backend, string model, string? tokenizer, double burstiness, string? label, IEnumerable<(string Name, string Value)> metadata, bool detailed)
    {
        JsonObject json = new()
        {
            ["date"] = DateTime.Now.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture),
            ["backend"] = backend,
            ["endpoint_type"] = backend,
            ["label"] = label,
            ["model_id"] = model,
            ["tokenizer_id"] = tokenizer ?? model,
            ["num_prompts"] = results.Length,
            ["request_rate"] = double.IsFinite(rate) ? rate : "inf",
            ["burstiness"] = burstiness,
            ["max_concurrency"] = concurrency,
            ["duration"] = duration,
            ["completed"] = completed.Length,
            ["failed"] = failed,
            ["total_input_tokens"] = Input,
            ["total_output_tokens"] = Output,
            ["request_throughput"] = completed.Length / duration,
            ["request_goodput"] = goodput.Any ? GoodRate : null,
            ["output_throughput"] = Output / duration,
            ["total_token_throughput"] = (Input + Output) / duration,
            ["max_output_tokens_per_s"] = PeakTokens,
            ["max_concurrent_requests"] = PeakRequests,
        };
        foreach ((string key, string _, string _, Summary values) in metrics)
        {
            json[$"mean_{key}_ms"] = values.Mean;
            json[$"median_{key}_ms"] = values.Median;
            json[$"std_{key}_ms"] = values.Deviation;
            foreach (double percent in percents)
                json[string.Create(CultureInfo.InvariantCulture, $"p{percent}_{key}_ms")] = values.Percentile(percent);
        }
        foreach ((string name, string value) in metadata)
            json[name] = value;
        if (detailed)
        {
            json["input_lens"] = List(results, result => result.Prompt);
            json["output_lens"] = List(results, result => result.Generated);
            json["ttfts"] = List(results, result => result.Error is null ? result.FirstToken : 0);
            json["itls"] = List(results, result => List(result.Tokens.Zip(result.Tokens.Skip(1)), pair => pair.Second - pair.First));
            json["start_times"] = List(results, result => result.Start);
            json["errors"] = List(results, result => result.Error ?? "");
        }
        return json.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n";
    }

    private static JsonArray List<T>(IEnumerable<T> values, Func<T, JsonNode> node) => [.. values.Select(node)];

    private static string Centred(string title, char fill) =>
        title.PadLeft((50 + title.Length) / 2, fill).PadRight(50, fill);
}
