using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Calibrating;
using XDeepServe.Models.Loading;
using XDeepServe.Models.Text;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench balance</c>: what replicating experts brings, on a model's own routing and on made-up loads.</summary>
internal sealed class BenchBalanceCommand : Command
{
    private static readonly int[] FewCopies = [0, 1, 2, 4, 8, 16];
    private readonly Option<string?> model = new("--model") { Description = "Folder or GGUF file of a model with experts (default: the embedded nano-moe)." };
    private readonly Option<string?> prompts = new("--prompts") { Description = "JSON lines with a 'prompt' each, may end with .gz: chat prompts whose routing is measured. Without it only made-up loads are." };
    private readonly Option<int> ranks = new("--ranks") { Description = "Ranks that hold experts.", DefaultValueFactory = _ => 8 };
    private readonly Option<int> slices = new("--slices") { Description = "Slices of time.", DefaultValueFactory = _ => 10 };

    public BenchBalanceCommand() : base("balance", "Measures how evenly experts are loaded with copies of the hot ones.")
    {
        foreach (Option option in new Option[] { model, prompts, ranks, slices })
            Options.Add(option);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        (int count, int parts) = (result.GetValue(ranks), result.GetValue(slices));
        if (result.GetValue(prompts) is not { } file)
            Console.WriteLine("No --prompts: the model's own routing is not measured.\n");
        else if (!File.Exists(file))
            Console.WriteLine($"{file} is not there: the model's own routing is not measured.\n");
        else
        {
            string path = result.GetValue(model) ?? EmbeddedModel.Find();
            // Both halves are placed by the first and judged by the second: tomorrow is balanced by yesterday's counts.
            (ExpertLoad known, ExpertLoad ahead) = Measure(path, file, parts);
            Table($"{Path.GetFileName(path)}, {Path.GetFileName(file)}: placed by the counts it is judged by", known, known, count);
            Table($"{Path.GetFileName(path)}, {Path.GetFileName(file)}: placed by the first half, judged by the second", known, ahead, count);
        }
        Table("Zipf 1.0, the same experts hot all the time", Zipf(1.0, parts, changing: 0), null, count);
        Table("Zipf 1.0, half the experts change places from slice to slice", Zipf(1.0, parts, changing: 0.5), null, count);
        Time();
        return 0;
    }

    /// <summary>Runs the chat prompts through the model, each as its template renders it; the first half of the file and the second.</summary>
    private static (ExpertLoad, ExpertLoad) Measure(string path, string file, int slices)
    {
        using Checkpoint checkpoint = Checkpoint.Open(path);
        Tokenizer tokenizer = checkpoint.LoadTokenizer() ?? throw new ModelLoadException($"{path} brings no tokenizer, so no prompts can be read.");
        PromptWriter writer = new(tokenizer, tokenizer.CreateTemplate());
        using CpuBackend backend = new(new CpuOptions());
        using Model loaded = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: null));
        using ExpertCounts counts = new(loaded, backend);
        int[][] texts = [.. PromptFile.Read(file).Select(prompt => writer.Encode(Message.Question(prompt.Text), opensAnswer: true).Take(512).ToArray())];
        using WindowRunner runner = new(loaded, backend, Math.Max(2, texts.Max(text => text.Length)));
        ExpertLoad[] halves = [new(counts.Layers, counts.Experts, slices), new(counts.Layers, counts.Experts, slices)];
        for (int i = 0; i < texts.Length; i++)
        {
            runner.Run(texts[i]);
            long place = (long)i * 2 * slices / texts.Length;
            counts.Take(halves[place / slices], (int)(place % slices));
        }
        return (halves[0], halves[1]);
    }

    /// <summary>Loads of 8 layers and 64 experts whose sizes follow Zipf's law.</summary>
    private static ExpertLoad Zipf(double exponent, int slices, double changing)
    {
        Random random = new(7);
        ExpertLoad load = new(8, 64, slices);
        for (int layer = 0; layer < load.Layers; layer++)
        {
            int[] order = [.. Enumerable.Range(0, load.Experts)];
            random.Shuffle(order);
            for (int slice = 0; slice < slices; slice++)
            {
                random.Shuffle(order.AsSpan(0, (int)(changing * order.Length)));
                for (int i = 0; i < order.Length; i++)
                    load.Slice(layer, slice)[order[i]] = (int)(100_000 / Math.Pow(i + 1, exponent));
            }
        }
        return load;
    }

    /// <summary>max/mean of a rank's load, both summed over slices, mean of all layers.</summary>
    private static void Table(string title, ExpertLoad known, ExpertLoad? judged, int ranks)
    {
        judged ??= known;
        (int groups, int nodes) = known.Experts % 4 == 0 && ranks % 2 == 0 ? (4, 2) : (1, 1);
        Console.WriteLine($"### {title}\n");
        Console.WriteLine($"{known.Layers} layers, {known.Experts} experts, {ranks} ranks, {known.Slices} slices; DeepSeek's hierarchical: {groups} groups, {nodes} nodes. max/mean, mean of all layers (worst layer).\n");
        Console.WriteLine("| R | before | xDeepServe | DeepSeek global | DeepSeek hierarchical | lower bound |\n|---:|---:|---:|---:|---:|---:|");
        double before = Mean(judged, layer => Ratio(judged, layer, ExpertPlacement.Plain(known.Experts, ranks)));
        int spare = ExpertPlacement.Plain(known.Experts, ranks).Slots.Count(-1);
        foreach (int budget in FewCopies.Concat(Enumerable.Range(1, known.Experts / ranks).Select(i => i * ranks)).Distinct().Order().Where(budget => budget <= known.Experts))
        {
            string[] cells = [.. Enum.GetValues<BalancingAlgorithm>().Select(algorithm =>
            {
                if (algorithm != BalancingAlgorithm.TimeSliced && (budget - spare) % ranks != 0)
                    return "";
                BalancerOptions options = new() { Algorithm = algorithm, Ranks = ranks, Redundant = Math.Max(0, (budget - spare + ranks - 1) / ranks), Budget = budget, Groups = groups, Nodes = nodes };
                ExpertPlacement[] placed = ExpertBalancer.Rebalance(known, options);
                double[] ratios = [.. Enumerable.Range(0, known.Layers).Select(layer => Ratio(judged, layer, placed[layer]))];
                return string.Create(CultureInfo.InvariantCulture, $"{ratios.Average():F3} ({ratios.Max():F2})");
            })];
            double bound = Mean(judged, layer => ExpertBalancer.LowerBound(judged, layer, ranks, budget) * ranks / judged.Totals(layer).Sum());
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {budget} | {before:F3} | {cells[0]} | {cells[1]} | {cells[2]} | {bound:F3} |"));
        }
        Console.WriteLine();
    }

    private static double Ratio(ExpertLoad load, int layer, ExpertPlacement placement) => 1 / ExpertBalancer.Balancedness(load, layer, placement);

    private static double Mean(ExpertLoad load, Func<int, double> value) => Enumerable.Range(0, load.Layers).Average(value);

    /// <summary>The paper's size: 61 layers, 256 experts, 288 ranks with one slot for a copy each; one thread.</summary>
    private static void Time()
    {
        Random random = new(1);
        ExpertLoad load = new(61, 256, 10);
        foreach (ref int count in load.Counts)
            count = (int)(1000 / (0.01 + random.NextDouble()));
        Console.WriteLine("### Time to place 61 layers of 256 experts on 288 ranks, 10 slices\n\n| algorithm | R | median of 5, ms |\n|---|---:|---:|");
        foreach (BalancingAlgorithm algorithm in Enum.GetValues<BalancingAlgorithm>())
        {
            BalancerOptions options = new() { Algorithm = algorithm, Ranks = 288, Groups = 8, Nodes = 4 };
            ExpertBalancer.Rebalance(load, options);
            double[] times = [.. Enumerable.Range(0, 5).Select(_ =>
            {
                long start = Stopwatch.GetTimestamp();
                ExpertBalancer.Rebalance(load, options);
                return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            })];
            int copies = ExpertBalancer.Rebalance(load, options)[0].Slots.ToArray().Count(expert => expert >= 0) - 256;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {algorithm} | {copies} | {new Summary(times).Median:F0} |"));
        }
    }
}
