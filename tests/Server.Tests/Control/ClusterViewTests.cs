using XDeepServe.FlowServe.Balancing;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Control.Grains;
using XDeepServe.Server.Control.Messages;
using XDeepServe.Transformerless;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A job executor places prompts by what caches hold, load and length, as Task Executors report them.</summary>
public sealed class ClusterViewTests
{
    private static readonly ulong[] s_chain = PrefixChain.Of([.. Enumerable.Range(0, 1500)], null);
    private static readonly ulong[] s_other = PrefixChain.Of([.. Enumerable.Range(7, 1500)], null);
    private readonly ClusterView _view = new();

    [Fact]
    public void AKnownBeginningDrawsARequestUnlessItsHolderIsOverloaded()
    {
        Join("a", "b", "c");
        Find("b").Prefixes.Tell(Summary(s_chain), version: 5);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal("b", Pick(1500, s_chain));
            Report("b", new ExecutorReport()); // it has computed it
        }
        Assert.NotEqual("b", Pick(1500, s_other)); // least lately picked
        Report("b", new ExecutorReport { Backlog = 30 });
        Assert.NotEqual("b", Pick(1500, s_chain));
        Report("b", new ExecutorReport { Draining = true });
        Assert.NotEqual("b", Pick(1500, s_chain));
    }

    [Fact]
    public void OfRequestsThatComeTogetherOneAtEachExecutorPaysForTheirBeginning()
    {
        Join("a", "b");
        int[] given = [0, 0];
        for (int i = 0; i < 40; i++)
        {
            given[Pick(1500, s_chain) == "a" ? 0 : 1]++;
        }
        Assert.Equal([20, 20], given);
        double whole = PrefillCostModel.Prior.Prompt(1500, 0, 512), rest = PrefillCostModel.Prior.Prompt(1500, s_chain.Length * PrefixChain.Span, 512);
        Assert.Equal(whole + 19 * rest, Find("a").Load([]).Backlog, 9);
        Assert.Equal(whole + 19 * rest, Find("b").Load([]).Backlog, 9);
    }

    [Fact]
    public void LongAndShortPromptsDoNotMix()
    {
        Join("a", "b");
        Dictionary<string, HashSet<PromptClass>> given = new() { ["a"] = [], ["b"] = [] };
        Random random = new(1);
        for (int i = 0; i < 40; i++)
        {
            bool isLong = i == 0 || (i > 1 && random.Next(3) == 0);
            int tokens = isLong ? 3000 + i : 20 + i;
            SeenExecutor seen = Find(Pick(tokens, []));
            PromptWork work = seen.Predict(tokens, []);
            Assert.Equal(isLong ? PromptClass.Long : PromptClass.Short, work.Class);
            seen.Begin(tokens, work);
            given[seen.Info.Id].Add(work.Class);
        }
        Assert.All(given.Values, classes => Assert.Single(classes));
        // As others' requests do, by report alone.
        Report("a", new ExecutorReport { Class = PromptClass.Long });
        Report("b", new ExecutorReport { Class = PromptClass.Short });
        Assert.Equal(("a", "b"), (Pick(4000, []), Pick(30, [])));
    }

    [Fact]
    public void PromptsGoWhereTheyTakeLessTime()
    {
        Join("fast", "slow");
        Report("fast", new ExecutorReport { Cost = new PrefillCost(1e-3, 1e-5, 0) });
        Report("slow", new ExecutorReport { Cost = new PrefillCost(1e-3, 1e-3, 0) });
        Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal("fast", Pick(1000, [])));
    }

    [Fact]
    public void DecodingGoesWhereExpectedAnswersLeaveRoom()
    {
        Join("a", "b");
        Report("a", new ExecutorReport { KvUsage = 0.1, KvExpected = 0.8 });
        Report("b", new ExecutorReport { KvUsage = 0.3, KvExpected = 0.4 });
        _view.Apply(new ClusterUpdate { Members = [.. new[] { "a", "b" }.Select(id => new Member(Info(id) with { Id = "d" + id, Role = WorkerRole.Decode }, Find(id).Report))] });
        Assert.Equal("db", _view.Pick(new PlacementRequest(WorkerRole.Decode, 100, [], [])));
    }

    [Fact]
    public void ReportsThatSayTheSameAreTold() // arrays are no values
    {
        ExecutorReport report = new() { Requests = 3, GroupUsage = [0.5, 0.25] };
        Assert.True(report.Agrees(report with { GroupUsage = [0.5, 0.25] }));
        Assert.False(report.Agrees(report with { GroupUsage = [0.5, 0.5] }));
        Assert.False(report.Agrees(report with { Backlog = 1 }));
    }

    private static PrefixSummary Summary(ulong[] chain)
    {
        uint[] names = [.. chain.Select(name => (uint)(name >> 32)).Order()];
        return new PrefixSummary(names);
    }

    private static ExecutorInfo Info(string id) => new()
    {
        Id = id,
        Name = id,
        Role = WorkerRole.Prefill,
        Pid = 1,
        Host = "host",
        Model = "model",
        Groups = 1,
        RequestLimit = 1000,
        CacheBlocks = 100,
        BlockSize = 16,
        MaxModelLength = 8192,
        MaxBatchedTokens = 512,
        LongPrompt = 2048,
    };

    private void Join(params string[] ids) => _view.Apply(new ClusterUpdate { Members = [.. ids.Select(id => new Member(Info(id), new ExecutorReport()))] });

    private void Report(string id, ExecutorReport report) => _view.Apply(new ClusterUpdate { Members = [new Member(Info(id), report)] });

    private SeenExecutor Find(string id) => _view.Find(id)!;

    private string Pick(int tokens, ulong[] chain) => _view.Pick(new PlacementRequest(WorkerRole.Prefill, tokens, chain, []))!;
}
