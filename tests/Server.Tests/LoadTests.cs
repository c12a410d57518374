using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests;

/// <summary>Tests that look at the memory of the process run with nothing beside them.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

/// <summary>H4 and H8: disconnects, overload, shutdown, many clients at once.</summary>
[Collection(nameof(Alone))]
public sealed class LoadTests
{
    private const string Endless = """{"prompt":"abc","max_tokens":4000,"stream":true,"ignore_eos":true}""";
    private static readonly EngineOptions s_long = new() { MaxModelLength = 4096, MaxSequences = 4, MaxBatchedTokens = 128, QueueLimit = 2 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ADisconnectFreesTheCache(bool stream)
    {
        await using ServerHost host = await ServerHost.StartAsync(engine: s_long);
        using CancellationTokenSource leave = new();
        Task<HttpResponseMessage> request = StartAsync(host, stream ? Endless : Endless.Replace("true,\"ignore", "false,\"ignore", StringComparison.Ordinal), leave.Token);
        await ServerHost.UntilAsync(async () => await host.MetricAsync("vllm:kv_cache_usage_perc") > 0, "the request runs");
        await leave.CancelAsync();
        if (stream)
        {
            using HttpResponseMessage response = await request;
        }
        else
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => request);
        }
        await ServerHost.UntilAsync(async () => await host.MetricAsync("vllm:num_requests_running") == 0 && await host.MetricAsync("vllm:kv_cache_usage_perc") == 0, "the request's blocks are free");
        Assert.Equal(1, await MetricWhereAsync(host, "finished_reason=\"abort\""));
    }

    [Fact]
    public async Task AFullQueueIsRefusedWithTheTimeToComeBack()
    {
        await using ServerHost host = await ServerHost.StartAsync(engine: s_long);
        using CancellationTokenSource leave = new();
        List<HttpResponseMessage> running = [];
        for (int i = 0; i < s_long.MaxSequences + s_long.QueueLimit; i++)
        {
            running.Add(await StartAsync(host, Endless, leave.Token));
        }
        Assert.All(running, response => Assert.Equal(HttpStatusCode.OK, response.StatusCode));
        using (HttpResponseMessage refused = await host.PostAsync("/v1/completions", Endless))
        {
            JsonNode error = await ServerHost.ErrorAsync(refused, 429);
            Assert.Equal("RateLimitError", (string)error["type"]!);
            Assert.True(refused.Headers.RetryAfter!.Delta >= TimeSpan.FromSeconds(1));
        }
        Assert.Equal(1, await host.MetricAsync("vllm:admission_rejections_total"));
        Assert.NotNull(await host.JsonAsync("/health"));
        await leave.CancelAsync();
        running.ForEach(response => response.Dispose());
        await ServerHost.UntilAsync(async () => await host.MetricAsync("vllm:num_requests_running") == 0, "the engine is at rest");
        Assert.NotNull(await host.JsonAsync("/v1/completions", """{"prompt":"abc","max_tokens":2}"""));
    }

    [Fact]
    public async Task SomePromptsOfARequestRefusedMeansNoneRuns()
    {
        await using ServerHost host = await ServerHost.StartAsync(engine: s_long);
        HttpResponseMessage running = await StartAsync(host, Endless, Cancel);
        int most = s_long.MaxSequences + s_long.QueueLimit;
        using (HttpResponseMessage refused = await host.PostAsync("/v1/completions", Prompts(most)))
        {
            await ServerHost.ErrorAsync(refused, 429);
        }
        using (HttpResponseMessage hopeless = await host.PostAsync("/v1/completions", Prompts(most + 1)))
        {
            await ServerHost.ErrorAsync(hopeless, 400);
        }
        running.Dispose();
        await ServerHost.UntilAsync(async () => await host.MetricAsync("vllm:num_requests_running") + await host.MetricAsync("vllm:num_requests_waiting") == 0, "the others are aborted");
        await ServerHost.UntilAsync(() => Task.FromResult(host.Model.Served.Engine.Unfinished == 0), "their places in the queue are free");
    }

    [Fact]
    public async Task AShutdownLetsRunningRequestsFinish()
    {
        await using ServerHost host = await ServerHost.StartAsync(engine: s_long);
        using HttpResponseMessage running = await StartAsync(host, """{"prompt":"abc","max_tokens":300,"stream":true,"ignore_eos":true}""", Cancel);
        Task stop = host.Server.StopAsync(TestContext.Current.CancellationToken);
        string text = await running.Content.ReadAsStringAsync(Cancel);
        Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
        Assert.Contains("\"finish_reason\":\"length\"", text, StringComparison.Ordinal);
        await stop;
        await Assert.ThrowsAsync<HttpRequestException>(() => host.TextAsync("/health"));
    }

    [Fact]
    public async Task AShutdownRefusesNewRequestsAndEndsLongOnes()
    {
        await using ServerHost host = await ServerHost.StartAsync(engine: s_long);
        using HttpResponseMessage running = await StartAsync(host, Endless, Cancel);
        using CancellationTokenSource hurry = new();
        Task stop = host.Server.StopAsync(hurry.Token);
        using (HttpResponseMessage ready = await host.Client.GetAsync(new Uri("/ready", UriKind.Relative), Cancel))
        {
            await ServerHost.ErrorAsync(ready, 503);
        }
        using (HttpResponseMessage refused = await host.PostAsync("/v1/completions", """{"prompt":"a"}"""))
        {
            await ServerHost.ErrorAsync(refused, 503);
        }
        Assert.Equal("draining", (string)(await host.JsonAsync("/status"))["state"]!);
        await hurry.CancelAsync();
        string text = await running.Content.ReadAsStringAsync(Cancel);
        Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
        Assert.Contains("\"code\":503", text, StringComparison.Ordinal);
        await stop;
    }

    [Fact]
    public async Task ManyStreamsWithRandomAbortsLeaveNothingBehind()
    {
        const int clients = 200;
        await using ServerHost host = await ServerHost.StartAsync(engine: new EngineOptions { MaxModelLength = 512, MaxSequences = 32, MaxBatchedTokens = 256, QueueLimit = 100 });
        Random random = new(3);
        long settled = 0;
        for (int round = 0; round < 10; round++)
        {
            int[] patience = [.. Enumerable.Range(0, clients).Select(_ => random.Next(0, 40))];
            Outcome[] outcomes = await Task.WhenAll(Enumerable.Range(0, clients).Select(i => ClientAsync(host, patience[i], i % 2 == 0)));
            Assert.DoesNotContain(Outcome.Wrong, outcomes);
            Assert.Contains(Outcome.Finished, outcomes);
            Assert.Contains(Outcome.Left, outcomes);
            await ServerHost.UntilAsync(
                async () => await host.MetricAsync("vllm:num_requests_running") + await host.MetricAsync("vllm:num_requests_waiting") + await host.MetricAsync("vllm:kv_cache_usage_perc") == 0,
                "everything is free again");
            Assert.Equal(0, host.Model.Served.Engine.Unfinished);
            long memory = GC.GetTotalMemory(forceFullCollection: true);
            // Two rounds fill pools and caches; from there memory stays.
            settled = round < 2 ? Math.Max(settled, memory) : settled;
            Assert.True(memory < settled + (16 << 20), $"round {round}: {memory} bytes, {settled} after the first");
        }
    }

    private static string Prompts(int count) =>
        $$"""{"prompt":[{{string.Join(',', Enumerable.Repeat("\"abc\"", count))}}],"max_tokens":4000,"ignore_eos":true}""";

    private enum Outcome
    {
        Finished,
        Left,
        Refused,
        Wrong,
    }

    // Reads a stream to its end, or leaves after some events; half of the clients stay.
    private static async Task<Outcome> ClientAsync(ServerHost host, int patience, bool stays)
    {
        using CancellationTokenSource leave = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        using HttpResponseMessage response = await StartAsync(host, $$"""{"prompt":"prompt {{patience}}","max_tokens":40,"stream":true,"ignore_eos":true}""", leave.Token);
        if (response.StatusCode == HttpStatusCode.TooManyRequests)
        {
            return response.Headers.RetryAfter is null ? Outcome.Wrong : Outcome.Refused;
        }
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return Outcome.Wrong;
        }
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync(leave.Token));
        int events = 0;
        string last = "";
        while (await reader.ReadLineAsync(leave.Token) is { } line)
        {
            if (line.Length == 0)
            {
                continue;
            }
            last = line;
            if (!stays && ++events > patience)
            {
                return Outcome.Left;
            }
        }
        return last == "data: [DONE]" ? Outcome.Finished : Outcome.Wrong;
    }

    private static async Task<HttpResponseMessage> StartAsync(ServerHost host, string body, CancellationToken cancel)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions") { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        return await host.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
    }

    private static async Task<double> MetricWhereAsync(ServerHost host, string label)
    {
        string line = (await host.TextAsync("/metrics")).Split('\n').Single(one => one.StartsWith("vllm:request_success_total{", StringComparison.Ordinal) && one.Contains(label, StringComparison.Ordinal));
        return double.Parse(line[(line.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
    }
}
