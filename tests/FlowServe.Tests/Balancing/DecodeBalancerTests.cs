using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class DecodeBalancerTests
{
    [Fact]
    public void Full_groups_are_excluded_then_the_emptiest_cache_is_taken()
    {
        Assert.Equal(1, DecodeBalancer.Pick([new(4, 4, 8, 10, 0), new(2, 0, 8, 500, 100), new(1, 0, 8, 500, 101)]));
        Assert.Equal(2, DecodeBalancer.Pick([new(4, 4, 8, 10, 0), new(2, 0, 8, 500, 600), new(1, 0, 8, 900, 100)]));
        Assert.Equal(1, DecodeBalancer.Pick([new(1, 0, 8, 0, 0), new(0, 0, 8, 0, 0)]));
        Assert.Equal(0, DecodeBalancer.Pick([new(0, 0, 8, 0, 0), new(0, 0, 8, 0, 0)]));
        Assert.Equal(-1, DecodeBalancer.Pick([new(8, 0, 8, 0, 0), new(0, 9, 8, 0, 0)]));
        Assert.Equal(-1, DecodeBalancer.Pick([]));
    }

    [Fact]
    public void Long_outputs_in_reserve_keep_the_caches_level()
    {
        // Every fourth request writes twenty times as much: by turns, one of four groups would get them all.
        long[] used = new long[4], byTurns = new long[4];
        int[] active = new int[4];
        for (int i = 0; i < 200; i++)
        {
            int length = i % 4 == 0 ? 2000 : 100;
            DecodeLoad[] loads = [.. Enumerable.Range(0, 4).Select(group => new DecodeLoad(active[group], 0, 100, 50 * active[group], used[group] - 50 * active[group]))];
            int pick = DecodeBalancer.Pick(loads);
            used[pick] += length;
            active[pick]++;
            byTurns[i % 4] += length;
        }
        Assert.True(used.Max() - used.Min() <= 2000, string.Join(", ", used));
        Assert.True(byTurns.Max() - byTurns.Min() > 90_000);
    }

    [Fact]
    public void Expected_lengths_are_learned_by_prompt_length_and_bounded()
    {
        OutputForecast forecast = new();
        Assert.Equal((256, 40), (forecast.Expect(100, 10_000), forecast.Expect(100, 40)));
        for (int i = 0; i < 200; i++)
        {
            forecast.Observe(100 + i % 20, 1000 + 10 * (i % 3));
            forecast.Observe(3000, 20);
        }
        Assert.InRange(forecast.Expect(110, 10_000), 1000, 1021);
        Assert.Equal((20, 8), (forecast.Expect(2500, 10_000), forecast.Expect(2500, 8)));
        Assert.InRange(forecast.Expect(17, 10_000), 300, 800); // a length that was never seen: all together
        for (int i = 0; i < 200; i++)
            forecast.Observe(3000, 600);
        Assert.InRange(forecast.Expect(2500, 10_000), 590, 600);
    }
}
