using CsCheck;
using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class PrefillBalancerTests(ITestOutputHelper output)
{
    private const int StepTokens = 512, LongPrompt = 2048;

    [Theory]
    [InlineData(2, 20)]
    [InlineData(4, 40)]
    [InlineData(8, 80)]
    public void The_leader_beats_round_robin_on_skewed_lengths(int groups, int perSecond)
    {
        SimulatedPrompt[] prompts = Skewed(400, perSecond, seed: 7);
        SimulatedRun turns = new PrefillSimulation(groups, StepTokens, LongPrompt).Run(prompts, Assignment.RoundRobin);
        SimulatedRun queue = new PrefillSimulation(groups, StepTokens, LongPrompt).Run(prompts, Assignment.ShortestQueue);
        SimulatedRun leader = new PrefillSimulation(groups, StepTokens, LongPrompt).Run(prompts, Assignment.Leader);
        foreach ((string name, SimulatedRun run) in new[] { ("round robin", turns), ("shortest queue", queue), ("leader", leader) })
            output.WriteLine($"{groups} groups | {name} | makespan {run.Makespan:F2} s | TTFT mean {run.Mean * 1000:F0} ms, p50 {run.Percentile(.5) * 1000:F0} ms, p99 {run.Percentile(.99) * 1000:F0} ms | mixed {run.Mixed}");
        Assert.True(leader.Mean < turns.Mean);
        Assert.True(leader.Makespan <= turns.Makespan);
        Assert.Equal(0, leader.Mixed);
        Assert.True(turns.Mixed > 0);
    }

    [Fact]
    public void Everything_is_computed_once_and_long_never_beside_short() =>
        Gen.Select(Gen.Int[1, 5], Gen.Select(Gen.Double[0, 0.05], Gen.Int[1, 9000], Gen.Int[-1, 3]).Array[1, 60]).Sample((groups, arrivals) =>
        {
            double at = 0;
            SimulatedPrompt[] prompts = [.. arrivals.Select(arrival => new SimulatedPrompt(at += arrival.Item1, arrival.Item2, arrival.Item3))];
            SimulatedRun run = new PrefillSimulation(groups, StepTokens, LongPrompt).Run(prompts, Assignment.Leader);
            Assert.Equal(0, run.Mixed);
            Assert.All(run.FirstTokens, time => Assert.True(time > 0));
        }, iter: 200);

    [Fact]
    public void A_single_group_serves_both_kinds_and_starves_none()
    {
        // More short prompts than it can compute, for 20 s; the long ones among them must not wait for the end.
        List<SimulatedPrompt> prompts = [.. Enumerable.Range(0, 3000).Select(i => new SimulatedPrompt(i / 150.0, 300))];
        for (int i = 0; i < 5; i++)
            prompts.Add(new SimulatedPrompt(1 + 2 * i, 4096));
        SimulatedPrompt[] ordered = [.. prompts.OrderBy(prompt => prompt.At)];
        SimulatedRun run = new PrefillSimulation(1, StepTokens, LongPrompt).Run(ordered, Assignment.Leader);
        double[] longOnes = [.. Enumerable.Range(0, ordered.Length).Where(i => ordered[i].Tokens > 300).Select(i => run.FirstTokens[i])];
        double[] shortOnes = [.. Enumerable.Range(0, ordered.Length).Where(i => ordered[i].Tokens == 300).Select(i => run.FirstTokens[i])];
        Assert.Equal(0, run.Mixed);
        Assert.True(longOnes.Max() < shortOnes.Max() + 2, $"{longOnes.Max()} s against {shortOnes.Max()} s");
    }

    [Fact]
    public void Requests_go_where_their_beginning_lies_unless_that_group_is_busy()
    {
        PrefillBalancer balancer = new(new PrefillBalancerOptions(StepTokens, LongPrompt));
        List<PrefillAssignment> assignments = [];
        PrefillStatus idle = new(PromptClass.None, 0, 8, PrefillSimulation.Truth);
        balancer.Assign([new PrefillJob(1000, [0, 900, 0])], [idle, idle, idle], assignments);
        Assert.Equal([new PrefillAssignment(0, 1)], assignments);
        balancer.Assign([new PrefillJob(1000, [0, 100, 0])], [idle, new(PromptClass.Short, 0.1, 8, PrefillSimulation.Truth), idle], assignments);
        Assert.NotEqual(1, Assert.Single(assignments).Group);
    }

    [Fact]
    public void Batches_are_level_and_short_ones_go_first()
    {
        PrefillBalancer balancer = new(new PrefillBalancerOptions(StepTokens, LongPrompt, StepsAhead: 100));
        List<PrefillAssignment> assignments = [];
        PrefillStatus idle = new(PromptClass.None, 0, 8, PrefillSimulation.Truth);
        int[] lengths = [300, 1900, 700, 600, 500, 1800];
        PrefillJob[] jobs = [.. lengths.Select(length => new PrefillJob(length, [0, 0]))];
        balancer.Assign(jobs, [idle, idle], assignments);
        int[] sums = [.. Enumerable.Range(0, 2).Select(group => assignments.Where(entry => entry.Group == group).Sum(entry => lengths[entry.Job]))];
        Assert.Equal(6, assignments.Count);
        Assert.True(Math.Abs(sums[0] - sums[1]) <= 300, $"{sums[0]} tokens beside {sums[1]}");
        foreach (int group in new[] { 0, 1 })
            Assert.Equal(assignments.Where(entry => entry.Group == group).Select(entry => lengths[entry.Job]).Order(), assignments.Where(entry => entry.Group == group).Select(entry => lengths[entry.Job]));
    }

    [Fact]
    public void A_group_without_room_gets_nothing()
    {
        PrefillBalancer balancer = new(new PrefillBalancerOptions(StepTokens, LongPrompt));
        List<PrefillAssignment> assignments = [];
        PrefillJob[] jobs = [.. Enumerable.Repeat(new PrefillJob(10, [0, 0]), 9)];
        balancer.Assign(jobs, [new(PromptClass.Short, 0, 0, PrefillSimulation.Truth), new(PromptClass.Short, 0, 3, PrefillSimulation.Truth)], assignments);
        Assert.Equal([1, 1, 1], assignments.Select(entry => entry.Group));
        Assert.Equal([0, 1, 2], assignments.Select(entry => entry.Job));
    }

    /// <summary>Chat-like prompts with a long tail: four in five below a step, one in five of many steps.</summary>
    private static SimulatedPrompt[] Skewed(int count, double perSecond, int seed)
    {
        Random random = new(seed);
        double at = 0;
        return [.. Enumerable.Range(0, count).Select(_ =>
        {
            at += -Math.Log(1 - random.NextDouble()) / perSecond;
            int tokens = random.NextDouble() < 0.8 ? random.Next(30, 500) : (int)(2048 * Math.Pow(8, random.NextDouble()));
            return new SimulatedPrompt(at, tokens);
        })];
    }
}
