using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class PrefillCostModelTests
{
    [Theory]
    [InlineData(2e-3, 4e-5, 6e-9)]
    [InlineData(5e-2, 1e-3, 2e-6)]
    [InlineData(1e-5, 2e-6, 1e-10)] // a GPU
    [InlineData(3e-4, 1e-4, 0)]     // no attention to speak of
    public void It_learns_what_steps_cost(double step, double token, double pair)
    {
        PrefillCostModel model = new();
        Random random = new(3);
        for (int i = 0; i < 400; i++)
        {
            int tokens = random.Next(1, 512), start = random.Next(0, 8000);
            double pairs = PrefillCost.Pairs(start, tokens);
            model.Observe(tokens, pairs, (step + token * tokens + pair * pairs) * (0.9 + 0.2 * random.NextDouble()));
        }
        foreach ((int prompt, int hits) in new[] { (100, 0), (8000, 0), (8000, 7900) })
        {
            double truth = new PrefillCost(step, token, pair).Prompt(prompt, hits, 512);
            Assert.InRange(model.Cost.Prompt(prompt, hits, 512), 0.8 * truth, 1.2 * truth);
        }
    }

    [Fact]
    public void It_follows_a_processor_that_gets_slower()
    {
        PrefillCostModel model = new();
        Random random = new(4);
        for (int i = 0; i < 2000; i++)
        {
            int tokens = random.Next(1, 512);
            double pairs = PrefillCost.Pairs(random.Next(0, 2000), tokens);
            model.Observe(tokens, pairs, (1e-3 + 5e-5 * tokens + 1e-8 * pairs) * (i < 1000 ? 1 : 3));
        }
        double truth = 3 * new PrefillCost(1e-3, 5e-5, 1e-8).Prompt(1000, 0, 512);
        Assert.InRange(model.Cost.Prompt(1000, 0, 512), 0.9 * truth, 1.1 * truth);
    }

    [Fact]
    public void Steps_that_are_all_alike_leave_it_sane()
    {
        PrefillCostModel model = new();
        for (int i = 0; i < 100_000; i++)
            model.Observe(1, 50, 0.004);
        PrefillCost cost = model.Cost;
        Assert.InRange(cost.Step + cost.Token + 50 * cost.Pair, 0.0039, 0.0041);
        Assert.True(cost.Step >= 0 && cost.Token >= 0 && cost.Pair >= 0);
        Assert.InRange(cost.Prompt(1000, 0, 512), 1e-3, 100);
        model.Observe(512, PrefillCost.Pairs(0, 512), 0.1);
        Assert.InRange(model.Cost.Seconds(512, PrefillCost.Pairs(0, 512), 512), 0.05, 0.15);
    }

    [Fact]
    public void Before_the_first_step_more_work_costs_more_and_what_is_cached_costs_less()
    {
        PrefillCost cost = new PrefillCostModel().Cost;
        Assert.True(cost.Prompt(2000, 0, 512) > cost.Prompt(1000, 0, 512));
        Assert.True(cost.Prompt(2000, 1500, 512) < cost.Prompt(2000, 0, 512));
        Assert.True(cost.Prompt(100, 100, 512) > 0);
    }

    [Fact]
    public void Pairs_of_chunks_add_up() =>
        Assert.Equal(PrefillCost.Pairs(0, 777), PrefillCost.Pairs(0, 100) + PrefillCost.Pairs(100, 600) + PrefillCost.Pairs(700, 77), 6);
}
