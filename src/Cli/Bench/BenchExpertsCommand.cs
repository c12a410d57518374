using System.CommandLine;
using System.Diagnostics;
using XDeepServe.FlowServe;
using XDeepServe.Kernels.Cpu;
using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench experts</c>: decoding with attention and experts apart, its stages, and how much of the exchange is hidden.</summary>
internal sealed class BenchExpertsCommand : Command
{
    private readonly Option<string?> model = new("--model") { Description = "Folder or GGUF file of a model with experts (default: the embedded nano-moe)." };
    private readonly Option<string[]> shapes = new("--topologies") { Description = "What to measure: 1 (one engine that has it all), 2EP, 1A1E, 4A3E:2domains.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["1", "1A1E", "2A2E", "4A2E", "4A2E:2domains"] };
    private readonly Option<SharedPlacement[]> placements = new("--shared-experts") { Description = "Where shared experts are, each measured: attention, experts.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [SharedPlacement.Attention] };
    private readonly Option<int> sequences = new("--sequences") { Description = "Sequences in all.", DefaultValueFactory = _ => 16 };
    private readonly Option<int> tokens = new("--tokens") { Description = "Tokens of each.", DefaultValueFactory = _ => 96 };

    public BenchExpertsCommand() : base("experts", "Measures attention and experts apart, all ranks in this process with a thread for each to compute.")
    {
        foreach (Option option in new Option[] { model, shapes, placements, sequences, tokens })
            Options.Add(option);
        SetAction(Run);
    }

    private async Task<int> Run(ParseResult result, CancellationToken cancel)
    {
        string path = result.GetValue(model) ?? EmbeddedModel.Find();
        Console.WriteLine($"{Path.GetFileName(path)}, {result.GetValue(sequences)} sequences, {result.GetValue(tokens)} tokens each; a round is one layer's exchange of one micro-batch");
        Console.WriteLine("| topology | micro-batches | tokens/s | attention us | sending us | A2E us | queue us | MoE us | there and back us | of it waited us | hidden |");
        Console.WriteLine("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
        foreach (string text in result.GetValue(shapes)!)
        {
            Topology topology = Topology.Parse(text);
            if (topology.Count(WorkerRole.Prefill) > 0 || (!topology.SharesExperts && topology.Workers is not [{ Groups: 1 }]))
                throw new ArgumentException($"{text} cannot be measured here: name 1, or workers that share experts.");
            foreach (SharedPlacement shared in topology.SharesExperts ? result.GetValue(placements)! : [SharedPlacement.Attention])
                foreach (int microBatches in topology.SharesExperts ? new[] { 1, 2 } : [1])
                    await MeasureAsync(path, text, topology, shared, microBatches, result.GetValue(sequences), result.GetValue(tokens), cancel);
        }
        return 0;
    }

    private static async Task MeasureAsync(string path, string name, Topology topology, SharedPlacement shared, int microBatches, int sequences, int tokens, CancellationToken cancel)
    {
        EngineOptions engine = new() { MaxModelLength = 512, MaxSequences = sequences, MaxBatchedTokens = Math.Max(64, sequences) };
        MixtureOptions options = new() { Name = $"bench_{Environment.ProcessId}_{Guid.NewGuid():N}"[..40], MicroBatches = microBatches, SharedExperts = shared };
        using Checkpoint checkpoint = Checkpoint.Open(path);
        Stack<IDisposable> owned = new();
        try
        {
            List<ExpertWorker> experts = [];
            List<AttentionRank> ranks = [];
            List<TeShell> shells = [];
            if (!topology.SharesExperts)
            {
                CpuBackend backend = Backend();
                Model loaded = Model.Load(checkpoint, backend, new ModelOptions(MaxModelLength: 512));
                owned.Push(loaded);
                shells.Add(new TeShell(loaded, backend, null, engine));
                owned.Push(shells[0]);
            }
            else
            {
                SplitPlan? plan = topology.Apart;
                int attending = plan?.Attention ?? topology.Ranks;
                ModelOptions model = new(MaxModelLength: 512);
                CpuBackend[] backends = [.. topology.Workers.Select(_ => Backend())];
                Task<ExpertWorker>[] joining = [.. Enumerable.Range(0, plan?.Experts ?? 0).Select(member => Task.Factory.StartNew(
                    () => ExpertWorker.Join(checkpoint, backends[attending + member], null, options, plan!, member, engine.MaxBatchedTokens), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
                Task<AttentionRank>[] others = [.. Enumerable.Range(0, attending).Select(member => Task.Factory.StartNew(
                    () => plan is not null
                        ? AttentionRank.JoinSplit(checkpoint, backends[member], model, engine, options, plan, member)
                        : AttentionRank.JoinColocated(checkpoint, backends[member], model, engine, options, member, attending), cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
                ranks.AddRange(await Task.WhenAll(others));
                experts.AddRange(await Task.WhenAll(joining));
                ranks.ForEach(owned.Push);
                experts.ForEach(owned.Push);
                for (int member = 0; member < attending; member++)
                    shells.Add(new TeShell(ranks[member].Model, backends[member], null, engine, null, ranks[member].Domain));
                shells.ForEach(owned.Push);
            }
            await Task.WhenAll(Enumerable.Range(0, sequences).Select(i => DecodeAsync(shells[i % shells.Count], i, 16, cancel))); // warms up
            Stages before = Stages.Of(ranks, experts);
            long start = Stopwatch.GetTimestamp();
            await Task.WhenAll(Enumerable.Range(0, sequences).Select(i => DecodeAsync(shells[i % shells.Count], i, tokens, cancel)));
            double rate = sequences * tokens / Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (!topology.SharesExperts)
                Console.WriteLine($"| {name} | 1 | {rate:F0} | | | | | | | | |");
            else
                Console.WriteLine($"| {name}{(shared == SharedPlacement.Experts ? ", shared experts there" : "")} | {microBatches} | {rate:F0} | {Stages.Of(ranks, experts).Since(before)} |");
        }
        finally
        {
            while (owned.TryPop(out IDisposable? item))
                item.Dispose();
        }

        CpuBackend Backend()
        {
            CpuBackend backend = new(new CpuOptions(Threads: topology.SharesExperts ? 1 : 0, PinThreads: false)); // all cores for one engine, as many threads as ranks otherwise
            owned.Push(backend);
            return backend;
        }
    }

    private static async Task DecodeAsync(TeShell shell, int number, int tokens, CancellationToken cancel)
    {
        int[] prompt = [.. Enumerable.Range(0, 8).Select(i => 50 + ((number * 31 + i * 7) % 400))];
        SamplingParameters sampling = new() { Temperature = 0, MaxTokens = tokens, IgnoreEos = true, Detokenize = false };
        Generation generation = shell.Submit(new GenerationRequest { Id = $"bench-{number}", Prompt = prompt, Sampling = sampling });
        await foreach (OutputDelta _ in generation.WithCancellation(cancel))
        {
            // Only the time counts.
        }
        if (generation.Failure is { } failure)
            throw new IOException(failure.Message, failure);
    }

    /// <summary>Sums over all ranks, in seconds.</summary>
    private readonly record struct Stages(double Rounds, double Batches, double Work, double Sending, double A2E, double Queue, double Experts, double Travel, double Waiting)
    {
        public static Stages Of(List<AttentionRank> ranks, List<ExpertWorker> experts) => new(
            ranks.Sum(rank => (double)rank.Exchange.Times.Rounds), experts.Sum(worker => (double)worker.Times.Batches),
            ranks.Sum(rank => rank.Exchange.Times.Work.TotalSeconds), ranks.Sum(rank => rank.Exchange.Times.Sending.TotalSeconds),
            experts.Sum(worker => worker.Times.Travelling.TotalSeconds), experts.Sum(worker => worker.Times.Queueing.TotalSeconds), experts.Sum(worker => worker.Times.Computing.TotalSeconds),
            ranks.Sum(rank => rank.Exchange.Times.Travelling.TotalSeconds), ranks.Sum(rank => rank.Exchange.Times.Waiting.TotalSeconds));

        public string Since(Stages before)
        {
            double rounds = (Rounds - before.Rounds) / 1e6, batches = (Batches - before.Batches) / 1e6;
            double travel = (Travel - before.Travel) / rounds, waiting = (Waiting - before.Waiting) / rounds;
            string experts = batches == 0 ? "| | " : $"{(A2E - before.A2E) / batches:F0} | {(Queue - before.Queue) / batches:F0} | {(Experts - before.Experts) / batches:F0}"; // ranks with both have them in their waits
            return $"{(Work - before.Work) / rounds:F0} | {(Sending - before.Sending) / rounds:F0} | {experts} | {travel:F0} | {waiting:F0} | {1 - waiting / travel:P0}";
        }
    }
}
