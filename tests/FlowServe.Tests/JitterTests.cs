using System.Diagnostics;
using System.Runtime;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Steps that take long, and garbage collection, which is the whole process's: no other test may run meanwhile.</summary>
[Collection(nameof(AllocationTests))]
public sealed class JitterTests
{
    [Theory]
    [InlineData(310, 0, 0, StepCause.Unknown, StepCause.Unknown)]
    [InlineData(310, 0, 0, StepCause.Prefill, StepCause.Prefill)]
    [InlineData(310, 0, 0, StepCause.Preemption, StepCause.Preemption)]
    [InlineData(310, 0, 20, StepCause.Prefill, StepCause.Transfer)]     // 290 without the copy
    [InlineData(310, 20, 20, StepCause.Prefill, StepCause.Collection)]  // 290 without the pause
    [InlineData(900, 20, 30, StepCause.Prefill, StepCause.Prefill)]     // long without either
    [InlineData(900, 20, 10, StepCause.Unknown, StepCause.Collection)]
    [InlineData(900, 0, 10, StepCause.Unknown, StepCause.Transfer)]
    [InlineData(300, 250, 0, StepCause.Prefill, null)]
    public void A_step_of_more_than_three_times_the_median_is_counted_by_cause(int milliseconds, int paused, int copied, StepCause reads, StepCause? cause)
    {
        EngineMetrics metrics = new(512);
        StepClock clock = new(metrics);
        long unit = Stopwatch.Frequency / 1000;
        for (int i = 0; i < 200; i++)
            clock.Observe((90 + i * 5 % 21) * unit, 0, 0, StepCause.Unknown);
        Assert.Equal(100 * unit, clock.Median);
        clock.Observe(milliseconds * unit, paused * unit, copied * unit, reads);
        foreach (StepCause any in Enum.GetValues<StepCause>())
            Assert.Equal(any == cause ? 1 : 0, metrics.Outliers(any));
    }

    [Fact]
    public void The_median_follows_the_last_steps()
    {
        EngineMetrics metrics = new(512);
        StepClock clock = new(metrics);
        Random random = new(1);
        List<long> all = [];
        for (int i = 0; i < 700; i++)
        {
            all.Add(random.Next(1, i < 400 ? 50 : 5000));
            clock.Observe(all[^1], 0, 0, StepCause.Unknown);
            long[] window = [.. all.TakeLast(127).Order()];
            Assert.Equal(window[window.Length / 2], clock.Median);
        }
    }

    [Fact]
    public void A_collection_that_stops_a_step_shows_in_the_counter()
    {
        using TestEngine engine = new(threaded: false);
        using Generation generation = engine.Submit(engine.Prompt(20, 1), TestEngine.Greedy(480));
        for (int i = 0; i < 60; i++)
            engine.Shell.Group.Step();
        // Enough to mark that a collection takes many times as long as a step of the tiny model.
        List<Chained> live = [];
        for (int i = 0; i < 64; i++)
            live.Add(Chained.Of(100_000));
        for (int i = 0; i < 20 && engine.Metrics.Outliers(StepCause.Collection) == 0; i++)
        {
            GC.Collect(2, GCCollectionMode.Forced, blocking: true, compacting: true);
            for (int turn = 0; turn < 4; turn++)
                engine.Shell.Group.Step();
        }
        Assert.True(engine.Metrics.Outliers(StepCause.Collection) > 0);
        GC.KeepAlive(live);
    }

    [Fact]
    public void No_garbage_is_collected_but_when_it_is_time()
    {
        using CollectionPace pace = new(every: 100, budget: 48 << 20);
        Assert.Equal(GCLatencyMode.NoGCRegion, GCSettings.LatencyMode);
        pace.Start();
        pace.Start();
        for (int round = 1; round <= 3; round++)
        {
            int before = GC.CollectionCount(0);
            for (int step = 0; step < 99; step++)
            {
                Allocate(320 << 10); // 32 MB in all; the runtime's own budget would be half of that
                pace.Step();
            }
            Assert.Equal((before, round - 1L), (GC.CollectionCount(0), pace.Collections));
            pace.Step();
            Assert.Equal((round, GCLatencyMode.NoGCRegion), (pace.Collections, GCSettings.LatencyMode));
        }
        pace.Stop();
        Assert.Equal(3, pace.Collections); // the other group still works
        pace.Stop();
        Assert.Equal(3, pace.Collections); // nothing to collect
        pace.Start();
        for (int step = 0; step < 25; step++)
            pace.Step();
        pace.Stop();
        Assert.Equal(4, pace.Collections);
    }

    [Fact]
    public void Beyond_the_budget_collection_comes_back_until_it_is_time()
    {
        using (CollectionPace pace = new(every: 10, budget: 8 << 20))
        {
            Allocate(200 << 20);
            Assert.NotEqual(GCLatencyMode.NoGCRegion, GCSettings.LatencyMode);
            for (int step = 0; step < 10; step++)
                pace.Step();
            Assert.Equal((1, GCLatencyMode.NoGCRegion), (pace.Collections, GCSettings.LatencyMode));
        }
        Assert.NotEqual(GCLatencyMode.NoGCRegion, GCSettings.LatencyMode);
    }

    private static void Allocate(int bytes)
    {
        for (int done = 0; done < bytes; done += 1024)
            GC.KeepAlive(new byte[1000]);
    }

    private sealed class Chained(Chained? next)
    {
        public Chained? Next { get; } = next;

        public static Chained Of(int count)
        {
            Chained chain = new(null);
            for (int i = 1; i < count; i++)
                chain = new Chained(chain);
            return chain;
        }
    }
}
