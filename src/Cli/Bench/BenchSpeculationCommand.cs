using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Speculating;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench speculation</c>: what proposing tokens brings, beside the same engine without, in turns.</summary>
internal sealed class BenchSpeculationCommand : Command
{
    private readonly EngineFlags flags;
    private readonly Option<string> prompts = new("--prompts") { Description = "JSON lines with 'id' and 'prompt', may end with .gz.", Required = true };
    private readonly Option<int> every = new("--every") { Description = "Only prompts whose id is divisible by this.", DefaultValueFactory = _ => 1 };
    private readonly Option<int> outputLength = new("--output-len") { Description = "Tokens of each answer.", DefaultValueFactory = _ => 96 };
    private readonly Option<int[]> batchSizes = new("--batch-size") { Description = "Requests at once.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 4, 16] };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Turns of each; medians count.", DefaultValueFactory = _ => 3 };
    private readonly Option<int> requests = new("--num-prompts") { Description = "Most prompts of a turn.", DefaultValueFactory = _ => 16 };
    private readonly Option<double> temperature = new("--temperature") { Description = "0 is greedy.", DefaultValueFactory = _ => 0 };

    public BenchSpeculationCommand() : base("speculation", "Measures speculative decoding on prompts.")
    {
        flags = new EngineFlags(this);
        foreach (Option option in new Option[] { prompts, every, outputLength, batchSizes, rounds, requests, temperature })
            Options.Add(option);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        EngineSettings settings = flags.Read(result);
        settings = settings with { Engine = settings.Engine with { PrefixCaching = false } };
        if (settings.Engine.Speculation is not { } speculation)
            throw new ArgumentException("Say what is to be measured: --speculative-config.");
        using LoadedEngine proposing = LoadedEngine.Open(settings);
        using LoadedEngine plain = LoadedEngine.Open(settings with { DraftModel = null, Model = settings.Model with { Drafts = false }, Engine = settings.Engine with { Speculation = null } });
        int[][] texts = Read(plain, result.GetValue(prompts)!, result.GetValue(every));
        SamplingParameters sampling = new() { Temperature = result.GetValue(temperature), MaxTokens = result.GetValue(outputLength), IgnoreEos = true, Detokenize = false, Seed = 1 };
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{settings.Name}, {speculation.Method}, {speculation.Tokens} tokens; {texts.Length} prompts, answers of {sampling.MaxTokens}, temperature {sampling.Temperature}; {plain.Backend.Description}\n"));
        Console.WriteLine("| at once | accepted | by place | tokens a step and sequence | tokens/s with | without | ratio | same tokens |\n|---:|---:|---|---:|---:|---:|---:|---:|");
        foreach (int size in result.GetValue(batchSizes)!)
            Console.WriteLine(await Measure(proposing, plain, [.. texts.Take(Math.Max(size, result.GetValue(requests)))], size, sampling, result.GetValue(rounds)));
        return 0;
    }

    private static async Task<string> Measure(LoadedEngine proposing, LoadedEngine plain, int[][] texts, int size, SamplingParameters sampling, int rounds)
    {
        SpeculationMetrics metrics = proposing.Shell.Metrics[0].Speculation!;
        await Turn(proposing, texts, size, sampling with { MaxTokens = Math.Min(16, sampling.MaxTokens ?? 16) });
        await Turn(plain, texts, size, sampling with { MaxTokens = Math.Min(16, sampling.MaxTokens ?? 16) });
        (long drafts, long proposed, long accepted) = (metrics.Drafts, metrics.DraftTokens, metrics.AcceptedTokens);
        long[] places = [.. metrics.AcceptedByPlace];
        List<double> with = [], without = [];
        int same = 0;
        for (int round = 0; round < rounds; round++)
        {
            (double speed, int[][] tokens) = await Turn(proposing, texts, size, sampling);
            with.Add(speed);
            (speed, int[][] expected) = await Turn(plain, texts, size, sampling);
            without.Add(speed);
            if (round == 0)
                same = expected.Zip(tokens).Count(pair => pair.First.AsSpan().SequenceEqual(pair.Second));
        }
        (drafts, proposed, accepted) = (metrics.Drafts - drafts, metrics.DraftTokens - proposed, metrics.AcceptedTokens - accepted);
        string byPlace = string.Join(", ", places.Select((before, place) => ((double)(metrics.AcceptedByPlace[place] - before) / Math.Max(1, drafts)).ToString("P1", CultureInfo.InvariantCulture)));
        (double fast, double slow) = (new Summary(with).Median, new Summary(without).Median);
        return string.Create(CultureInfo.InvariantCulture,
            $"| {size} | {(double)accepted / Math.Max(1, proposed):P1} | {byPlace} | {1 + (double)accepted / Math.Max(1, drafts):F2} | {fast:F0} | {slow:F0} | {fast / slow:F2} | {same} of {texts.Length} |");
    }

    /// <summary>Answers all prompts, so many at once; tokens a second.</summary>
    private static async Task<(double Speed, int[][] Tokens)> Turn(LoadedEngine loaded, int[][] texts, int size, SamplingParameters sampling)
    {
        int[][] answers = new int[texts.Length][];
        int next = 0;
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, size).Select(async _ =>
        {
            for (int i = Interlocked.Increment(ref next) - 1; i < texts.Length; i = Interlocked.Increment(ref next) - 1)
                answers[i] = await Answer(loaded, texts[i], sampling);
        }));
        return (answers.Sum(answer => answer.Length) / Stopwatch.GetElapsedTime(start).TotalSeconds, answers);
    }

    private static async Task<int[]> Answer(LoadedEngine loaded, int[] prompt, SamplingParameters sampling)
    {
        using Generation generation = loaded.Shell.Submit(new GenerationRequest { Id = "bench", Prompt = prompt, Sampling = sampling });
        List<int> tokens = [];
        await foreach (OutputDelta delta in generation)
        {
            if (delta.FinishReason == "error")
                throw new ArgumentException($"The engine failed: {generation.Failure?.Message}");
            tokens.AddRange(delta.TokenIds);
        }
        return [.. tokens];
    }

    private static int[][] Read(LoadedEngine loaded, string file, int every)
    {
        Tokenizer tokenizer = loaded.Tokenizer ?? throw new ModelLoadException("The model brings no tokenizer, so no prompts can be read.");
        PromptWriter writer = new(tokenizer, tokenizer.CreateTemplate());
        return [.. PromptFile.Read(file).Where(prompt => prompt.Id % every == 0).Select(prompt => writer.Encode(Message.Question(prompt.Text), opensAnswer: true).Take(512).ToArray())];
    }
}
