namespace XDeepServe.FlowServe.Tests;

/// <summary>Counts what the whole process allocates, so no other test may run meanwhile.</summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public sealed class AllocationTests
{
    [Theory]
    [MemberData(nameof(EngineTests.Families), MemberType = typeof(EngineTests))]
    public void A_decode_step_allocates_nothing(string family)
    {
        using TestEngine engine = new(family, threaded: false);
        Generation[] generations = [.. Enumerable.Range(0, 4).Select(i => engine.Submit(engine.Prompt(20, i), TestEngine.Greedy(400)))];
        for (int i = 0; i < 150; i++)
            engine.Shell.Group.Step(); // grows what grows: event buffers, plans, compiled code
        // The test runner's own threads are counted, too: what a step allocates is in every window.
        long least = long.MaxValue;
        for (int window = 0; window < 6 && least > 0; window++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 40; i++)
                engine.Shell.Group.Step();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.Equal(0, least);
        foreach (Generation generation in generations)
            generation.Dispose();
    }
}
