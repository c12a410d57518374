using System.Globalization;
using XDeepServe.FlowServe.DistFlow;

namespace XDeepServe.FlowServe.Tests.DistFlow;

using DistFlow = XDeepServe.FlowServe.DistFlow.DistFlow;

/// <summary>One of two Task Executors is killed while keys and values are on their way; the other one goes on, and so does a new one in its place.</summary>
public sealed class DeathTests
{
    private const int Trials = 3, Requests = 24;

    [Fact]
    public async Task A_killed_prefill_side_costs_computing_and_a_new_one_links_anew()
    {
        using TestEngine engine = new(options: ChildExecutor.Options);
        string self = Name();
        Dictionary<string, Victim> victims = [];
        using DistFlow flow = new(engine.Shell, self, (owner, link, _) => Say(victims[owner], link), ChildExecutor.Links);
        int[][] alone = new int[Requests][];
        for (int seed = 0; seed < Requests; seed++)
            alone[seed] = await engine.Tokens(engine.Prompt(Length(seed), seed), TestEngine.Greedy(6));
        Random random = new(1);
        long done = 0;
        for (int trial = 0; trial < Trials; trial++)
        {
            using Victim victim = new(Name());
            victims[victim.Name] = victim;
            for (int seed = 0; seed < Requests; seed++)
                victim.Say(string.Create(CultureInfo.InvariantCulture, $"prefill {Length(seed)} {seed}"));
            List<(int Seed, Gathered Output)> rests = [];
            int killedBehind = random.Next(Requests - 4);
            for (int i = 0; i < Requests; i++)
            {
                int[] said = [.. victim.Hear()[1..].Select(word => int.Parse(word, CultureInfo.InvariantCulture))];
                rests.Add((said[3], new Gathered()));
                engine.Shell.Submit(ChildExecutor.Request(engine, said[2], said[3]) with { Produced = [said[4]], Ticket = new KvTicket(victim.Name, said[0], said[1], said[2]) }, rests[^1].Output);
                if (trial > 0 && i == Requests - 1)
                {
                    // In the middle of a transfer: when so many have ended, or some time later.
                    SpinWait.SpinUntil(() => flow.Metrics.Transfers - done >= killedBehind, TimeSpan.FromSeconds(30));
                    await Task.Delay(random.Next(3), TestContext.Current.CancellationToken);
                    victim.Kill();
                }
            }
            foreach ((int seed, Gathered rest) in rests)
            {
                Assert.Equal("length", await rest.End);
                Assert.Equal(alone[seed][1..], rest.Tokens);
            }
            await engine.Idle();
            Assert.Equal(0, flow.Metrics.UnderWay);
            Assert.True(flow.Metrics.Transfers - done >= (trial == 0 ? Requests : killedBehind), $"{flow.Metrics.Transfers - done} transfers: {flow.Metrics.LastFault}");
            done = flow.Metrics.Transfers;
        }
        flow.Dispose();
        foreach (string owner in victims.Keys)
            Assert.Empty(Directory.GetFiles("/dev/shm", $"xccl-{flow.LinkName(owner, 0)[..^1]}*"));
    }

    [Fact]
    public async Task A_killed_decode_side_leaves_nothing_held()
    {
        using TestEngine engine = new(options: ChildExecutor.Options);
        using DistFlow flow = new(engine.Shell, Name(), (_, _, _) => Task.CompletedTask, ChildExecutor.Links);
        Random random = new(2);
        List<string> links = [];
        for (int trial = 0; trial < Trials; trial++)
        {
            using Victim victim = new(Name(), link =>
            {
                links.Add(link);
                flow.Serve(link);
            });
            long sent = flow.Metrics.SentBytes;
            Gathered[] begun = [.. Enumerable.Range(0, Requests).Select(_ => new Gathered())];
            for (int seed = 0; seed < Requests; seed++)
                engine.Shell.Submit(ChildExecutor.Request(engine, Length(seed), seed) with { HandOverAfter = 1 }, begun[seed]);
            for (int seed = 0; seed < Requests; seed++)
            {
                KvHold hold = await begun[seed].Hold;
                victim.Say(string.Create(CultureInfo.InvariantCulture, $"decode {flow.Name} {hold.Group} {hold.Number} {hold.Positions} {seed} {begun[seed].Tokens[0]}"));
            }
            long kill = sent + random.Next(Requests * 40) * (long)engine.Shell.Group.Port.BytesPerPosition;
            // On a busy machine leases may end before the other side comes; what is left to see is the same.
            Assert.True(SpinWait.SpinUntil(() => flow.Metrics.SentBytes > kill || engine.Shell.Group.Holds.Count == 0, TimeSpan.FromSeconds(30)), flow.Metrics.LastFault);
            victim.Kill();
            await engine.Idle(); // what was sent is freed, the rest when its lease ends
            Assert.Equal(0, engine.Shell.Group.Holds.Count);
        }
        Assert.True(flow.Metrics.SentBytes > 0, flow.Metrics.LastFault);
        flow.Dispose();
        Assert.Equal(Trials, links.Count);
        using TestEngine other = new(options: ChildExecutor.Options);
        foreach (string link in links)
            Assert.False(File.Exists($"/dev/shm/xccl-{link}-0"));
    }

    private static int Length(int seed) => 40 + (seed * 37 % 101);

    private static string Name() => $"te{Environment.ProcessId}_{Guid.NewGuid():N}";

    private static Task Say(Victim victim, string link)
    {
        victim.Say($"serve {link}");
        return Task.CompletedTask;
    }
}
