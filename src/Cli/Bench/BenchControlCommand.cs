using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using XDeepServe.Cli.Service;
using XDeepServe.FlowServe;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Transformerless;

namespace XDeepServe.Cli.Bench;

/// <summary>
/// <c>xds bench control</c>: what the control plane costs. The same requests, in turns, by an engine in this process and by a service whose workers
/// are processes of their own: the difference of the times to the first token is what a request pays, that of the times between tokens what a step pays.
/// </summary>
internal sealed class BenchControlCommand : Command
{
    private readonly Option<string> topology = new("--topology") { Description = "The service's workers.", DefaultValueFactory = _ => "1" };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Rounds.", DefaultValueFactory = _ => 100 };
    private readonly Option<int> inputLength = new("--input-len") { Description = "Tokens of a prompt.", DefaultValueFactory = _ => 16 };
    private readonly Option<int> outputLength = new("--output-len") { Description = "Tokens of an answer.", DefaultValueFactory = _ => 33 };
    private readonly Option<int> concurrency = new("--concurrency") { Description = "Requests of a round, which come together.", DefaultValueFactory = _ => 1 };
    private readonly EngineFlags engine;

    public BenchControlCommand() : base("control", "Measures what the control plane of a service adds to a request and to a step.")
    {
        foreach (Option option in new Option[] { topology, rounds, inputLength, outputLength, concurrency })
            Options.Add(option);
        engine = new EngineFlags(this);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        if (result.GetValue(outputLength) < 2 || result.GetValue(inputLength) < 1 || result.GetValue(concurrency) < 1)
            throw new ArgumentException("--input-len and --concurrency are at least 1, --output-len at least 2.");
        EngineSettings settings = engine.Read(result) with { SkipTokenizer = true };
        settings = settings with { Engine = settings.Engine with { PrefixCaching = false } };
        using LoadedEngine alone = LoadedEngine.Open(settings);
        using FrontModel front = FrontModel.Open(settings);
        Topology workers = Topology.Parse(result.GetValue(topology)!);
        await using ServiceNode node = await ServiceNode.StartAsync(new ServiceOptions { Worker = "bench" }, null, cancel);
        await using ClusterEngine service = node.OpenFrontEnd(front.Config, front.Engine);
        await using Launcher launcher = new(workers, node, spec =>
        [
            "worker", engine.PathOf(result, null), "--role", spec.Role.ToString().ToLowerInvariant(), "--name", spec.Name, "--until-eof", "--cluster", node.EndPoint.ToString(),
            "--no-enable-prefix-caching", "--skip-tokenizer-init", .. engine.ForWorkers(result, spec, workers.Workers.Count).Where(flag => flag is not ("--no-enable-prefix-caching" or "--skip-tokenizer-init")),
        ], cancel);
        launcher.Start();
        using CancellationTokenSource ready = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        await await Task.WhenAny(service.ReadyAsync(launcher.Executors, ready.Token), launcher.WatchStartAsync(ready.Token));
        await ready.CancelAsync();
        Times direct = new(), through = new();
        Random random = new(0);
        int warm = Math.Max(10, result.GetValue(rounds) / 10);
        for (int round = -warm; round < result.GetValue(rounds); round++)
        {
            GenerationRequest[] requests = [.. Enumerable.Range(0, result.GetValue(concurrency)).Select(number => new GenerationRequest
            {
                Id = $"{round}-{number}",
                Prompt = [.. Enumerable.Range(0, result.GetValue(inputLength)).Select(_ => random.Next(front.Config.VocabularySize))],
                Sampling = new SamplingParameters { Temperature = 0, MaxTokens = result.GetValue(outputLength), IgnoreEos = true, Detokenize = false },
            })];
            await MeasureAsync(alone.Shell, requests, direct, round >= 0, cancel);
            await MeasureAsync(service, requests, through, round >= 0, cancel);
        }
        Print("to the first token", direct.First, through.First);
        Print("between two tokens", direct.Between, through.Between);
        return 0;
    }

    private static async Task MeasureAsync(IEngine engine, GenerationRequest[] requests, Times times, bool counts, CancellationToken cancel)
    {
        (double First, double Between)[] measured = await Task.WhenAll(requests.Select(request => Task.Run(() => MeasureAsync(engine, request, cancel), cancel)));
        if (!counts)
            return;
        times.First.AddRange(measured.Select(time => time.First));
        times.Between.AddRange(measured.Select(time => time.Between));
    }

    private static async Task<(double First, double Between)> MeasureAsync(IEngine engine, GenerationRequest request, CancellationToken cancel)
    {
        long start = Stopwatch.GetTimestamp(), first = 0;
        int tokens = 0, atFirst = 0;
        await foreach (OutputDelta delta in engine.Submit(request).WithCancellation(cancel))
        {
            tokens += delta.TokenIds.Count;
            if (first == 0 && tokens > 0)
                (first, atFirst) = (Stopwatch.GetTimestamp(), tokens);
            if (delta.FinishReason == "error")
                throw new IOException($"A request failed: {request.Id}.");
        }
        return (Stopwatch.GetElapsedTime(start, first).TotalMilliseconds, Stopwatch.GetElapsedTime(first).TotalMilliseconds / Math.Max(1, tokens - atFirst));
    }

    private static void Print(string what, List<double> direct, List<double> through)
    {
        Summary one = new(direct), many = new(through);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what}: engine in this process {one.Median:F3} ms (p90 {one.Percentile(90):F3}), service {many.Median:F3} ms (p90 {many.Percentile(90):F3}); median of the difference {new Summary(direct.Zip(through, (left, right) => right - left)).Median:F3} ms"));
    }

    /// <summary>Milliseconds.</summary>
    private sealed class Times
    {
        public List<double> First { get; } = [];

        public List<double> Between { get; } = [];
    }
}
