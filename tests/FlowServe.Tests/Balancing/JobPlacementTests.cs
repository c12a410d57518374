using XDeepServe.FlowServe.Balancing;

namespace XDeepServe.FlowServe.Tests.Balancing;

public sealed class JobPlacementTests
{
    private static readonly ExecutorLoad s_idle = new() { RequestLimit = 10, Cost = PrefillSimulation.Truth };

    [Fact]
    public void Prefill_goes_where_the_prompt_is_done_first()
    {
        ExecutorLoad holds = s_idle with { Held = 960, Class = PromptClass.Short };
        Assert.Equal(1, Prefill([s_idle, holds, s_idle]));
        Assert.Equal(0, Prefill([s_idle, holds with { Backlog = 1 }, s_idle]));
        Assert.Equal(0, Prefill([s_idle with { Backlog = 0.001 }, holds with { Requests = 10 }, s_idle with { Backlog = 0.002 }]));
        Assert.Equal(-1, Prefill([s_idle with { Requests = 10 }]));
        Assert.Equal(-1, Prefill([]));
    }

    [Fact]
    public void An_answer_is_not_written_in_a_crowd_for_the_sake_of_a_few_tokens_that_are_held()
    {
        ExecutorLoad crowd = s_idle with { Held = 16, Answering = 7 };
        Assert.Equal(1, Prefill([crowd, s_idle with { Answering = 1 }]));
        Assert.Equal(0, Prefill([crowd with { Held = 960 }, s_idle with { Answering = 1 }]));
        Assert.Equal(0, Prefill([crowd with { Answering = 0 }, s_idle]));
    }

    [Fact]
    public void Long_prompts_do_not_go_behind_short_ones_where_that_can_be_helped()
    {
        ExecutorLoad shortOnes = s_idle with { Class = PromptClass.Short, Backlog = 0.01 }, longOnes = s_idle with { Class = PromptClass.Long, Backlog = 2 };
        Assert.Equal(1, JobPlacement.Prefill([shortOnes, longOnes], 8000, longPrompt: 2000));
        Assert.Equal(0, JobPlacement.Prefill([shortOnes, longOnes], 1000, longPrompt: 2000));
        Assert.Equal(0, JobPlacement.Prefill([shortOnes, longOnes with { Requests = 10 }], 8000, longPrompt: 2000));
    }

    [Fact]
    public void Decode_goes_to_the_emptiest_cache_with_room()
    {
        Assert.Equal(1, JobPlacement.Decode([s_idle with { KvUsage = 0.4 }, s_idle with { KvUsage = 0.3 }, s_idle with { Requests = 10 }]));
        Assert.Equal(1, JobPlacement.Decode([s_idle with { Requests = 3 }, s_idle with { Requests = 2 }]));
        Assert.Equal(-1, JobPlacement.Decode([s_idle with { Requests = 11 }]));
    }

    private static int Prefill(ExecutorLoad[] executors) => JobPlacement.Prefill(executors, 1000, longPrompt: 2000);
}
