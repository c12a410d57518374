using XDeepServe.FlowServe.Balancing;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests;

/// <summary>Who runs where, as a user writes it.</summary>
public sealed class TopologyTests
{
    [Theory]
    [InlineData("1", "colocated-0:1")]
    [InlineData("3", "colocated-0:1 colocated-1:1 colocated-2:1")]
    [InlineData("2xDP", "colocated-0:2")]
    [InlineData("1P1D", "prefill-0:1 decode-0:1")]
    [InlineData("2p1d", "prefill-0:1 prefill-1:1 decode-0:1")]
    [InlineData("1a2e", "attention-0:1 expert-0:1 expert-1:1")]
    [InlineData("2A1E:2domains", "attention-0:1 attention-1:1 expert-0:1")]
    [InlineData("1P+1A1E", "prefill-0:1 attention-0:1 expert-0:1")]
    [InlineData("2EP", "rank-0:1 rank-1:1")]
    [InlineData("1P+1ep", "prefill-0:1 rank-0:1")]
    [InlineData("1P1A2E", "prefill-0:1 attention-0:1 expert-0:1 expert-1:1")]
    [InlineData("2P3D", "prefill-0:1 prefill-1:1 decode-0:1 decode-1:1 decode-2:1")]
    public void Short_forms_name_their_workers(string text, string workers) =>
        Assert.Equal(workers, string.Join(' ', Topology.Parse(text).Workers.Select(worker => $"{worker.Name}:{worker.Groups}")));

    [Theory]
    [InlineData("", "is no topology")]
    [InlineData("P1D", "is no topology")]
    [InlineData("1P", "is no topology")]
    [InlineData("2P2DX", "is no topology")]
    [InlineData("-1", "is no topology")]
    [InlineData("1.5", "is no topology")]
    [InlineData("0", "between 1 and 256")]
    [InlineData("0P1D", "between 1 and 256")]
    [InlineData("1P99999999999999999999D", "between 1 and 256")]
    [InlineData("0xDP", "between 1 and 256")]
    [InlineData("0A2E", "between 1 and 256")]
    [InlineData("2A", "is no topology")]
    [InlineData("2A2E:3domains", "3 domains cannot be")]
    [InlineData("0EP", "between 1 and 256")]
    [InlineData("2EP:2domains", "is no topology")]
    [InlineData("1P1D2A2E", "is no topology")]
    [InlineData("nowhere.yaml", "is not there")]
    [InlineData("200P100D", "between 1 and 256")]
    public void What_cannot_be_is_refused(string text, string complaint) =>
        Assert.Contains(complaint, Assert.Throws<ArgumentException>(() => Topology.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_file_says_more()
    {
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, """
                # two kinds of prefill
                workers:
                  - role: prefill
                    count: 2
                    cores: 0-1,5
                    block-size: 32
                  - role: prefill
                    device: cuda:1
                    memory: 3 GiB
                    groups: 4
                  - { role: Decode, memory: 1024, cores: [3, 2] }
                  - role: frontend
                    port: 8001
                """);
            IReadOnlyList<WorkerSpec> workers = Topology.Parse(file).Workers;
            Assert.Equal(["prefill-0", "prefill-1", "prefill-2", "decode-0", "frontend-0"], workers.Select(worker => worker.Name));
            Assert.Equal([0, 1, 5], workers[1].Cores);
            Assert.Equal((32, null, null, 1), (workers[1].BlockSize, workers[1].Memory, workers[1].Device, workers[1].Groups));
            Assert.Equal((null, 3L << 30, "cuda:1", 4), (workers[2].BlockSize, workers[2].Memory, workers[2].Device, workers[2].Groups));
            Assert.Equal((WorkerRole.Decode, 1024L), (workers[3].Role, workers[3].Memory));
            Assert.Equal([2, 3], workers[3].Cores);
            Assert.Equal(8001, workers[4].Port);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void A_file_divides_attention_into_domains()
    {
        SplitPlan? plan = TopologyFile.Read("domains: 2\nworkers:\n  - { role: attention, count: 4 }\n  - { role: expert, count: 3 }\n").Apart;
        Assert.Equal(new SplitPlan(4, 3, 2), plan);
    }

    [Fact]
    public void A_file_says_how_the_number_of_workers_follows_the_load()
    {
        Topology topology = TopologyFile.Read("""
            workers:
              - role: prefill
              - role: decode
                count: 2
            autoscale:
              prefill: { min: 1, max: 3, standby: 1 }
              decode:
                min: 2
                max: 4
                queue-time-out: 0.5
                queue-time-in: 0.05
                kv-usage-out: 0.9
                kv-usage-in: 0.4
                out-after: 2
                in-after: 120
                cool-down: 30
            """);
        AutoscaleSettings decode = new()
        {
            Fewest = 2,
            Most = 4,
            QueueTimeOut = TimeSpan.FromSeconds(.5),
            QueueTimeIn = TimeSpan.FromSeconds(.05),
            KvUsageOut = .9,
            KvUsageIn = .4,
            PatienceOut = TimeSpan.FromSeconds(2),
            PatienceIn = TimeSpan.FromSeconds(120),
            CoolDown = TimeSpan.FromSeconds(30),
        };
        Assert.Equal([new RoleScaling(WorkerRole.Prefill, new AutoscaleSettings { Most = 3 }, 1), new RoleScaling(WorkerRole.Decode, decode, 0)], topology.Scaling);
        Assert.Empty(Topology.Parse("1P1D").Scaling);
    }

    [Theory]
    [InlineData("[]", "line 3: 'autoscale' is a mapping")]
    [InlineData("{ frontend: { max: 2 } }", "no number of workers follows the load of 'frontend'; there are colocated, prefill, decode")]
    [InlineData("{ prefill: { max: 2 } }", "has none to begin with")]
    [InlineData("{ colocated: 3 }", "bounds are a mapping")]
    [InlineData("{ colocated: { min: 2 } }", "line 3: 'max' is needed")]
    [InlineData("{ colocated: { min: 3, max: 2 } }", "line 3: Between 3 and 2 workers is no range")]
    [InlineData("{ colocated: { max: 0 } }", "a number between 1 and 256")]
    [InlineData("{ colocated: { max: 2, standby: -1 } }", "a number between 0 and 256")]
    [InlineData("{ colocated: { max: 2, kv-usage-out: 1.5 } }", "a share between 0 and 1 is needed")]
    [InlineData("{ colocated: { max: 2, kv-usage-in: 0.9 } }", "must begin below")]
    [InlineData("{ colocated: { max: 2, queue-time-out: soon } }", "a number of seconds")]
    [InlineData("{ colocated: { max: 2, in-after: 100000 } }", "a number of seconds, at most 86400,")]
    [InlineData("{ colocated: { max: 2, boost: 1 } }", "there is no bound 'boost'")]
    public void What_cannot_be_of_it_is_refused(string section, string complaint) =>
        Assert.Contains(complaint, Assert.Throws<ArgumentException>(() => TopologyFile.Read($"workers:\n  - role: colocated\nautoscale: {section}")).Message, StringComparison.Ordinal);

    [Fact]
    public void Experts_apart_do_not_follow_the_load() =>
        Assert.Contains("find together once", Assert.Throws<ArgumentException>(() => TopologyFile.Read("workers:\n  - role: attention\n  - role: expert\n  - role: colocated\nautoscale: { colocated: { max: 2 } }")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("workers: [", "is no YAML")]
    [InlineData("- a", "one mapping")]
    [InlineData("worker: []", "line 1")]
    [InlineData("workers: []", "between 1 and 256")]
    [InlineData("{}", "no list")]
    [InlineData("workers:\n  - count: 2", "line 2: a worker needs a role")]
    [InlineData("workers:\n  - role: boss", "is no role")]
    [InlineData("workers:\n  - role: 1", "is no role")]
    [InlineData("workers:\n  - role: colocated\n    speed: 9", "line 3: a worker has no 'speed'")]
    [InlineData("workers:\n  - role: colocated\n    groups: 0", "line 3: a number between 1")]
    [InlineData("workers:\n  - role: colocated\n    cores: 3-1", "line 3: '3-1' is no list of cores.")]
    [InlineData("workers:\n  - role: colocated\n    memory: 4 horses", "no amount of memory")]
    [InlineData("workers:\n  - role: colocated\n    memory: 99999999999GiB", "no amount of memory")]
    [InlineData("workers:\n  - role: decode\n    port: 8001", "line 2: a port is of one front end")]
    [InlineData("workers:\n  - role: frontend\n    port: 8001\n    count: 2", "line 2: a port is of one front end")]
    [InlineData("workers:\n  - role: prefill", "needs decode workers")]
    [InlineData("workers:\n  - role: frontend", "runs the model")]
    [InlineData("domains: 2\nworkers:\n  - role: rank", "Domains are of attention workers")]
    [InlineData("workers:\n  - role: rank\n    groups: 2", "is one DP group")]
    [InlineData("workers:\n  - role: rank\n  - role: attention\n  - role: expert", "one or the other")]
    public void A_wrong_file_is_told_apart_by_line(string text, string complaint) =>
        Assert.Contains(complaint.Split('.')[0], Assert.Throws<ArgumentException>(() => TopologyFile.Read(text)).Message, StringComparison.Ordinal);
}
