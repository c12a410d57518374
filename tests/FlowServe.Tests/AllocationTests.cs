using XDeepServe.FlowServe.Speculating;

namespace XDeepServe.FlowServe.Tests;

/// <summary>Counts what the whole process allocates, so no other test may run meanwhile.</summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public sealed class AllocationTests
{
    [Theory]
    [MemberData(nameof(EngineTests.Families), MemberType = typeof(EngineTests))]
    public void A_decode_step_allocates_nothing(string family) => Check(family, TestEngine.Options());

    [Theory]
    [InlineData(SpeculationMethod.DraftModule)]
    [InlineData(SpeculationMethod.PromptLookup)]
    [InlineData(SpeculationMethod.DraftModel)]
    public void A_step_that_proposes_and_verifies_allocates_nothing(SpeculationMethod method) => Check(
        "deepseek_draft_random", TestEngine.Options() with { Speculation = new SpeculationOptions { Method = method, Tokens = 1, DisableBySequences = int.MaxValue } });

    private static void Check(string family, EngineOptions options)
    {
        using TestEngine engine = new(family, options, threaded: false);
        Generation[] generations = [.. Enumerable.Range(0, 4).Select(i => engine.Submit(engine.Prompt(20, i), TestEngine.Greedy(400)))];
        for (int i = 0; i < 120; i++)
            engine.Shell.Group.Step(); // grows what grows: event buffers, plans, compiled code
        // The test runner's own threads are counted, too: what a step allocates is in every window.
        long least = long.MaxValue;
        for (int window = 0; window < 10 && least > 0; window++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 20; i++)
                engine.Shell.Group.Step();
            long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
            if (engine.Shell.Unfinished == generations.Length)
                least = Math.Min(least, allocated);
        }
        Assert.Equal(0, least);
        foreach (Generation generation in generations)
            generation.Dispose();
    }
}
