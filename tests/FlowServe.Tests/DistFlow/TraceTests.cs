using System.Collections.Concurrent;
using System.Diagnostics;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.FlowServe.Tracing;

namespace XDeepServe.FlowServe.Tests.DistFlow;

using DistFlow = XDeepServe.FlowServe.DistFlow.DistFlow;

/// <summary>Spans of a request that is prefilled in one engine and decoded in another.</summary>
public sealed class TraceTests
{
    [Fact]
    public async Task A_trace_crosses_prefill_transfer_and_decode()
    {
        ConcurrentQueue<Activity> spans = new();
        ActivityTraceId trace = ActivityTraceId.CreateRandom();
        ActivitySpanId client = ActivitySpanId.CreateRandom();
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == RequestTrace.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.Parent.TraceId == trace ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,
            ActivityStopped = spans.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        string name = $"t{Environment.ProcessId}_{Guid.NewGuid():N}"[..20];
        using TestEngine prefill = new(), decode = new();
        using DistFlow source = new(prefill.Shell, name, (_, _, _) => Task.CompletedTask);
        using DistFlow target = new(decode.Shell, $"d{name}", (_, link, _) =>
        {
            source.Serve(link);
            return Task.CompletedTask;
        });
        GenerationRequest request = new() { Id = "traced", Prompt = prefill.Prompt(40, 1), Sampling = TestEngine.Greedy(6), TraceParent = $"00-{trace}-{client}-01" };
        Gathered begun = new(), rest = new();
        prefill.Shell.Submit(request with { HandOverAfter = 1 }, begun);
        KvHold hold = await begun.Hold;
        decode.Shell.Submit(request with { Produced = [.. begun.Tokens], Ticket = new KvTicket(name, hold.Group, hold.Number, hold.Positions) }, rest);
        Assert.Equal("length", await rest.End);
        await decode.Idle();

        Assert.Equal(["queue", "queue", "prefill", "kv_transfer", "decode"], spans.Select(span => span.OperationName).OrderBy(Order));
        Assert.All(spans, span => Assert.Equal((trace, client), (span.TraceId, span.ParentSpanId)));
        Activity transfer = Find("kv_transfer"), written = Find("decode"), read = Find("prefill");
        Assert.Equal((40, "Done", name), (transfer.GetTagItem("xds.kv.positions"), transfer.GetTagItem("xds.kv.status"), transfer.GetTagItem("xds.kv.owner")));
        Assert.Equal((6, "length"), (written.GetTagItem("gen_ai.usage.output_tokens"), written.GetTagItem("gen_ai.response.finish_reasons")));
        Assert.Equal(40, read.GetTagItem("gen_ai.usage.input_tokens"));
        TimeSpan slack = TimeSpan.FromMilliseconds(2); // two clocks are read, one after the other
        Assert.True(read.StartTimeUtc + read.Duration <= transfer.StartTimeUtc + slack);
        Assert.True(transfer.StartTimeUtc + transfer.Duration <= written.StartTimeUtc + written.Duration + slack);

        Activity Find(string span) => Assert.Single(spans, each => each.OperationName == span);
        static int Order(string span) => span switch { "queue" => 0, "prefill" => 1, "kv_transfer" => 2, _ => 3 };
    }

    [Fact]
    public async Task Requests_without_a_parent_leave_no_spans()
    {
        int made = 0;
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == RequestTrace.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.Parent == default ? ActivitySamplingResult.AllData : ActivitySamplingResult.None,
            ActivityStopped = _ => Interlocked.Increment(ref made),
        };
        ActivitySource.AddActivityListener(listener);
        using TestEngine engine = new();
        await engine.Tokens(engine.Prompt(20, 1), TestEngine.Greedy(3));
        await engine.Idle();
        Assert.Equal(0, made);
    }
}
