using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.Tiers;

namespace XDeepServe.FlowServe.Tests;

public sealed class TierCostModelTests
{
    [Fact]
    public void Slow_tiers_lose_and_fast_ones_win_after_few_measurements()
    {
        PrefillCostModel prefill = new();
        TierCostModel cost = new(stepTokens: 512, prefill);
        for (int i = 0; i < 200; i++)
            prefill.Observe(512, PrefillCost.Pairs(0, 512), 512 * 50e-6);
        for (int i = 0; i < 50; i++)
            cost.ObserveDisk(10 << 20, (10 << 20) / 20e6);
        Assert.InRange(cost.DiskRate, 15e6, 30e6);
        Assert.InRange(cost.Compute(0, 1024), 1024 * 40e-6, 1024 * 60e-6);
        const int bytesPerToken = 4000; // 50 us to compute, 200 us to read
        Assert.True(cost.Load(0, 1024 * bytesPerToken) > cost.Compute(0, 1024));
        Assert.True(cost.Load(1024 * bytesPerToken, 0) < cost.Compute(0, 1024));
        for (int i = 0; i < 300; i++)
            cost.ObserveDisk(10 << 20, (10 << 20) / 2e9);
        Assert.True(cost.Load(0, 1024 * bytesPerToken) < cost.Compute(0, 1024));
    }

    [Fact]
    public void What_made_it_decline_is_forgotten_until_it_tries_again()
    {
        PrefillCostModel prefill = new();
        TierCostModel cost = new(stepTokens: 512, prefill);
        for (int i = 0; i < 100; i++)
            prefill.Observe(512, PrefillCost.Pairs(0, 512), 512 * 20e-6);
        for (int i = 0; i < 20; i++)
            cost.ObserveWait(5); // a stall that has passed
        cost.ObserveDisk(1 << 20, 30);
        int declined = 0;
        while (cost.Load(0, 1 << 20) > cost.Compute(0, 1024))
        {
            cost.Decline();
            Assert.True(++declined < 1000, "It never tries again.");
        }
        Assert.True(declined > 10);
    }
}
