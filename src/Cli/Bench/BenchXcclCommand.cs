using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Cli.Bench;

/// <summary><c>xds bench xccl</c>: messages between two processes, dispatch and combine among several, over shared memory.</summary>
internal sealed class BenchXcclCommand : Command
{
    private readonly Option<int> ranks = new("--ranks") { Description = "Processes that exchange tokens.", DefaultValueFactory = _ => 2 };
    private readonly Option<int[]> bytes = new("--bytes")
    {
        Description = "Bytes of each message.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20],
    };

    private readonly Option<int[]> tokens = new("--tokens") { Description = "Tokens of each rank.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 8, 32, 128] };
    private readonly Option<int> hidden = new("--hidden") { Description = "Values of a row.", DefaultValueFactory = _ => 7168 };
    private readonly Option<int> topK = new("--top-k") { Description = "Experts of a token.", DefaultValueFactory = _ => 8 };
    private readonly Option<int> experts = new("--experts") { Description = "Experts of all ranks.", DefaultValueFactory = _ => 256 };
    private readonly Option<int> attention = new("--attention-ranks") { Description = "Ranks that have attention where it runs apart from the experts, which the others have; 0 leaves that out.", DefaultValueFactory = _ => 1 };
    private readonly Option<int> rounds = new("--num-iters") { Description = "Rounds of each exchange; messages take more, the smaller the more.", DefaultValueFactory = _ => 100 };
    private readonly Option<WaitStrategy> strategy = new("--wait") { Description = "What waits do.", DefaultValueFactory = _ => WaitStrategy.Automatic };
    private readonly Option<int> slots = new("--slots") { Description = "Slots of a ring.", DefaultValueFactory = _ => 64 };
    private readonly Option<int> slotBytes = new("--slot-bytes") { Description = "Bytes of a slot.", DefaultValueFactory = _ => 32 << 10 };
    private readonly Option<string?> output = new("--output-json") { Description = "File for the results." };
    private readonly Option<int> rank = new("--rank") { Hidden = true };
    private readonly Option<string?> group = new("--group") { Hidden = true };

    public BenchXcclCommand() : base("xccl", "Measures messages and exchanges between processes.")
    {
        foreach (Option option in new Option[] { ranks, bytes, tokens, hidden, topK, experts, attention, rounds, strategy, slots, slotBytes, output, rank, group })
            Options.Add(option);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        Check(result);
        int count = result.GetValue(ranks), largest = result.GetValue(bytes)!.Max(), attending = result.GetValue(attention);
        TokenShape shape = new()
        {
            MaxTokens = result.GetValue(tokens)!.Max(),
            Hidden = result.GetValue(hidden),
            TopK = result.GetValue(topK),
            Element = WireType.BF16,
            DispatchWire = WireType.BF16,
            CombineWire = WireType.BF16,
        };
        TokenShape quantised = shape with { DispatchWire = WireType.I8, CombineWire = WireType.I8 };
        Topology[] apart = attending == 0 ? [] : [.. Enumerable.Range(0, 2).Select(way =>
            new Topology(attending, count - attending, (result.GetValue(experts) + count - attending - 1) / (count - attending), Trampolines: way == 1))];
        string name = result.GetValue(group) ?? string.Create(CultureInfo.InvariantCulture, $"bench{Environment.ProcessId}");
        GroupOptions options = new()
        {
            Name = name,
            Rank = result.GetValue(rank),
            Strategy = result.GetValue(strategy),
            Geometry = new RegionGeometry
            {
                Ranks = count,
                Slots = result.GetValue(slots),
                SlotBytes = result.GetValue(slotBytes),
                AppBytes = largest,
                Channels = [.. AllToAll.Channels(shape), .. AllToAll.Channels(quantised), .. apart.SelectMany(topology => topology.Channels(shape))],
            },
        };
        _ = new RegionLayout(options.Geometry); // refuses what has none before there are processes
        using RankProcesses peers = new(result.GetValue(group) is null ? count : 0, name);
        if (OperatingSystem.IsLinux() && count <= Environment.ProcessorCount)
            Process.GetCurrentProcess().ProcessorAffinity = (nint)1 << options.Rank;
        using Communicator joined = Communicator.Join(options);
        JsonObject json = [];
        if (joined.Rank == 0)
            Console.WriteLine($"{count} processes on {Environment.ProcessorCount} cores, waits: {joined.Strategy}, ring of {options.Geometry.Slots} slots of {options.Geometry.SlotBytes} bytes");
        new MessageBench(joined, largest, json).Run(result.GetValue(bytes)!);
        int perRank = result.GetValue(experts) / count;
        new ExchangeBench(joined, new AllToAll(joined, shape, perRank), shape, perRank, result.GetValue(rounds), json).Run(result.GetValue(tokens)!);
        new ExchangeBench(joined, new AllToAll(joined, quantised, perRank, channel: 2), quantised, perRank, result.GetValue(rounds), json).Run(result.GetValue(tokens)!);
        int channel = 4;
        foreach (Topology topology in apart)
        {
            new ApartBench(joined, topology, shape, channel, result.GetValue(rounds), json).Run(result.GetValue(tokens)!);
            channel += topology.Channels(shape).Count;
            joined.Collectives.Barrier();
        }
        if (joined.Rank == 0 && result.GetValue(output) is { } path)
            File.WriteAllText(path, json.ToJsonString() + "\n");
        joined.Collectives.Barrier();
        return 0;
    }

    private void Check(ParseResult result)
    {
        foreach (Option<int> option in (Option<int>[])[hidden, topK, rounds, experts])
            if (result.GetValue(option) < 1)
                throw new ArgumentException($"{option.Name} must be at least 1, not {result.GetValue(option)}.");
        foreach (Option<int[]> option in (Option<int[]>[])[bytes, tokens])
            foreach (int value in result.GetValue(option)!)
                if (value < 1)
                    throw new ArgumentException($"{option.Name} must be at least 1, not {value}.");
        int count = result.GetValue(ranks);
        if (count < 2 || result.GetValue(experts) % count != 0)
            throw new ArgumentException($"--ranks must be at least 2 and divide --experts, {result.GetValue(experts)}; {count} does not.");
        if (result.GetValue(topK) > result.GetValue(experts))
            throw new ArgumentException($"--top-k {result.GetValue(topK)} asks for more experts than the {result.GetValue(experts)} that there are.");
        if (result.GetValue(attention) < 0 || result.GetValue(attention) >= count)
            throw new ArgumentException($"--attention-ranks must leave a rank for experts: 0 to {count - 1}, not {result.GetValue(attention)}.");
        if ((long)count * result.GetValue(tokens)!.Max() * result.GetValue(topK) * result.GetValue(hidden) > Array.MaxLength / 2)
            throw new ArgumentException("--ranks, --tokens, --top-k and --hidden multiply to more than 2 GB of rows: make one of them smaller.");
    }
}
