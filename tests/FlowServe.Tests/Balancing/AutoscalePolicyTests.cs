using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class AutoscalePolicyTests
{
    private static readonly AutoscaleSettings s_settings = new() { Most = 4 };

    [Theory]
    [InlineData(2.0, 0.1)]
    [InlineData(0.0, 0.9)]
    public void A_load_that_stays_high_adds_a_worker_and_a_short_one_does_not(double queueSeconds, double usage)
    {
        Assert.Equal(ScaleDecision.Out, Decide(2, null, (3, queueSeconds, usage)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (2, queueSeconds, usage)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (10, 0.5, 0.6), (2, queueSeconds, usage)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (10, queueSeconds, usage), (1, 0.5, 0.6)));
        Assert.Equal(ScaleDecision.Hold, Decide(4, null, (10, queueSeconds, usage)));
    }

    [Fact]
    public void A_load_that_stays_low_takes_a_worker_away_if_the_others_have_room()
    {
        Assert.Equal(ScaleDecision.In, Decide(2, null, (60, 0, 0.2)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (60, 0, 0.3))); // one would be at 0.6
        Assert.Equal(ScaleDecision.In, Decide(4, null, (60, 0, 0.3)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (59, 0, 0.2)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, null, (40, 0, 0.2), (1, 0.2, 0.2), (40, 0, 0.2)));
        Assert.Equal(ScaleDecision.Hold, Decide(1, null, (100, 0, 0)));
    }

    [Fact]
    public void After_a_change_only_what_came_since_counts()
    {
        Assert.Equal(ScaleDecision.Hold, Decide(2, changedAt: 90, (100, 2, 0.9)));
        Assert.Equal(ScaleDecision.Out, Decide(2, changedAt: 80, (100, 2, 0.9)));
        Assert.Equal(ScaleDecision.Hold, Decide(2, changedAt: 50, (100, 0, 0)));
        Assert.Equal(ScaleDecision.In, Decide(2, changedAt: 40, (100, 0, 0)));
        Assert.Equal(ScaleDecision.Hold, AutoscalePolicy.Decide(s_settings, [], 2, null));
    }

    [Fact]
    public void The_range_is_kept_at_once()
    {
        Assert.Equal(ScaleDecision.Out, AutoscalePolicy.Decide(s_settings with { Fewest = 2 }, [], 1, null));
        Assert.Equal(ScaleDecision.In, AutoscalePolicy.Decide(s_settings, [], 5, null));
    }

    [Fact]
    public void A_load_step_brings_workers_and_its_end_takes_them_without_swinging()
    {
        // Each worker serves 10 requests a second; 25 a second come for five minutes, then 2.
        int workers = 1, most = 1, changes = 0;
        double queue = 0;
        TimeSpan? changedAt = null;
        List<LoadSample> samples = [];
        for (int second = 0; second < 900; second++)
        {
            double rate = second < 300 ? 25 : 2;
            queue = Math.Max(0, queue + rate - 10 * workers);
            samples.Add(new LoadSample(TimeSpan.FromSeconds(second), TimeSpan.FromSeconds(queue / (10 * workers)), Math.Min(1, rate / (12.0 * workers))));
            ScaleDecision decision = AutoscalePolicy.Decide(s_settings, samples.ToArray(), workers, changedAt);
            if (decision == ScaleDecision.Hold)
                continue;
            workers += decision == ScaleDecision.Out ? 1 : -1;
            (most, changes, changedAt) = (Math.Max(most, workers), changes + 1, samples[^1].At);
        }
        Assert.InRange(most, 3, 4);
        Assert.Equal((1, 2 * (most - 1)), (workers, changes));
    }

    [Fact]
    public void Bounds_that_would_swing_are_refused()
    {
        s_settings.Validate();
        Assert.Throws<ArgumentException>(() => (s_settings with { KvUsageIn = 0.9 }).Validate());
        Assert.Throws<ArgumentException>(() => (s_settings with { QueueTimeIn = TimeSpan.FromSeconds(2) }).Validate());
        Assert.Throws<ArgumentException>(() => (s_settings with { Fewest = 5 }).Validate());
    }

    /// <summary>Decides at second 100 after stretches of equal load, a look each second.</summary>
    private static ScaleDecision Decide(int workers, double? changedAt, params (int Seconds, double Queue, double Usage)[] stretches)
    {
        List<LoadSample> samples = [];
        double end = 100 - stretches.Sum(stretch => stretch.Seconds);
        foreach ((int seconds, double queue, double usage) in stretches)
        {
            for (double at = end + (samples.Count > 0 ? 1 : 0); at <= end + seconds; at++)
                samples.Add(new LoadSample(TimeSpan.FromSeconds(at), TimeSpan.FromSeconds(queue), usage));
            end += seconds;
        }
        return AutoscalePolicy.Decide(s_settings, samples.ToArray(), workers, changedAt is { } second ? TimeSpan.FromSeconds(second) : null);
    }
}
