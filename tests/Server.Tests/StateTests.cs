using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using XDeepServe.Server.Metrics;

namespace XDeepServe.Server.Tests;

/// <summary>H1, H6, H7, H9, H10: what stands around generation.</summary>
public sealed class StateTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ListsModelsWithTheirCards()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        JsonNode list = await host.JsonAsync("/v1/models");
        Assert.Equal("list", (string)list["object"]!);
        Assert.Equal(["tiny", "alias"], list["data"]!.AsArray().Select(card => (string)card!["id"]!));
        JsonNode card = list["data"]![0]!;
        Assert.Equal("model", (string)card["object"]!);
        Assert.Equal("/models/tiny", (string)card["root"]!);
        Assert.Equal(512, (int)card["max_model_len"]!);
        Assert.True(card.AsObject().ContainsKey("parent"));
        Assert.NotNull(card["created"]);
        Assert.NotNull(card["owned_by"]);
        Assert.Single(card["permission"]!.AsArray());
        Assert.Equal("alias", (string)(await host.JsonAsync("/v1/models/alias"))["id"]!);
        using HttpRequestMessage head = new(HttpMethod.Head, "/v1/models");
        using HttpResponseMessage answer = await host.Client.SendAsync(head, Cancel);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Empty(await answer.Content.ReadAsByteArrayAsync(Cancel));
    }

    [Fact]
    public async Task AsksForTheKeyWhereItIsDue()
    {
        await using ServerHost host = await ServerHost.StartAsync(ServerHost.Options with { ApiKeys = ["secret", "other"] });
        foreach (string open in (string[])["/health", "/ready", "/ping", "/version", "/metrics", "/status", "/load", "/", "/page.js"])
        {
            using HttpResponseMessage response = await host.Client.GetAsync(new Uri(open, UriKind.Relative), Cancel);
            Assert.True(response.IsSuccessStatusCode, open);
        }
        foreach (string header in (string[])["", "Bearer", "Bearer wrong", "Basic secret", "secret"])
        {
            using HttpRequestMessage request = new(HttpMethod.Get, "/v1/models");
            if (header.Length > 0)
            {
                request.Headers.TryAddWithoutValidation("Authorization", header);
            }
            using HttpResponseMessage refused = await host.Client.SendAsync(request, Cancel);
            JsonNode error = await ServerHost.ErrorAsync(refused, 401);
            Assert.Equal("AuthenticationError", (string)error["type"]!);
            Assert.Equal("Bearer", refused.Headers.WwwAuthenticate.ToString());
        }
        using (HttpResponseMessage refused = await host.PostAsync("/tokenize", """{"prompt":"a"}"""))
        {
            await ServerHost.ErrorAsync(refused, 401);
        }
        foreach (string key in (string[])["secret", "other"])
        {
            host.Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            Assert.NotNull(await host.JsonAsync("/v1/models"));
        }
    }

    [Fact]
    public async Task IsAliveButNotReadyWhileLoading()
    {
        await using ServerHost host = await ServerHost.StartAsync(attach: false);
        Assert.Equal("ok", (string)(await host.JsonAsync("/health"))["status"]!);
        Assert.Equal("loading", (string)(await host.JsonAsync("/status"))["state"]!);
        Assert.NotNull(await host.TextAsync("/metrics"));
        foreach (string path in (string[])["/ready", "/v1/models"])
        {
            using HttpResponseMessage response = await host.Client.GetAsync(new Uri(path, UriKind.Relative), Cancel);
            await ServerHost.ErrorAsync(response, 503);
            Assert.NotNull(response.Headers.RetryAfter);
        }
        using (HttpResponseMessage response = await host.PostAsync("/v1/completions", """{"prompt":"a"}"""))
        {
            await ServerHost.ErrorAsync(response, 503);
        }
        host.Server.Attach(host.Model.Served);
        Assert.Equal("ok", (string)(await host.JsonAsync("/ready"))["status"]!);
        Assert.Equal("ready", (string)(await host.JsonAsync("/status"))["state"]!);
    }

    [Fact]
    public async Task TellsVersionAndLoad()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        Assert.Matches(@"^\d+\.\d+\.\d+", (string)(await host.JsonAsync("/version"))["version"]!);
        Assert.Equal(0, (int)(await host.JsonAsync("/load"))["server_load"]!);
        using HttpResponseMessage pinged = await host.PostAsync("/ping", "");
        Assert.Equal(HttpStatusCode.OK, pinged.StatusCode);
    }

    [Fact]
    public async Task TokenizesAndBack()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        JsonNode tokens = await host.JsonAsync("/tokenize", """{"model":"tiny","prompt":"héllo","return_token_strs":true}""");
        Assert.Equal(6, (int)tokens["count"]!);
        Assert.Equal(512, (int)tokens["max_model_len"]!);
        Assert.Equal([104, 195, 169, 108, 108, 111], tokens["tokens"]!.AsArray().Select(id => (int)id!));
        Assert.Equal(6, tokens["token_strs"]!.AsArray().Count);
        JsonNode text = await host.JsonAsync("/detokenize", $$"""{"tokens":{{tokens["tokens"]!.ToJsonString()}}}""");
        Assert.Equal("héllo", (string)text["prompt"]!);
        JsonNode chat = await host.JsonAsync("/tokenize", """{"messages":[{"role":"user","content":"hi"}]}""");
        Assert.Equal(TinyModel.Start, (int)chat["tokens"]![0]!);
        foreach (string body in (string[])["{}", """{"prompt":5}""", """{"messages":[]}"""])
        {
            using HttpResponseMessage refused = await host.PostAsync("/tokenize", body);
            await ServerHost.ErrorAsync(refused, 400);
        }
        foreach (string body in (string[])["{}", """{"tokens":"a"}""", """{"tokens":[-1]}""", """{"tokens":[999999]}"""])
        {
            using HttpResponseMessage refused = await host.PostAsync("/detokenize", body);
            await ServerHost.ErrorAsync(refused, 400);
        }
    }

    [Fact]
    public async Task ShowsMetricsUnderTheNamesThatDashboardsRead()
    {
        await using ServerHost host = await ServerHost.StartAsync();
        await host.JsonAsync("/v1/completions", """{"prompt":"abc","max_tokens":5,"ignore_eos":true}""");
        string text = await host.TextAsync("/metrics");
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            Assert.Matches(@"^(# (HELP|TYPE) [a-z0-9_:]+ .+|[a-z0-9_:]+(\{([a-z_]+=""[^""]*"",?)+\})? (\+Inf|[0-9.eE+-]+))$", line);
        }
        foreach (string name in (string[])["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "cache_config_info"])
        {
            Assert.Contains($"# TYPE vllm:{name} gauge\n", text, StringComparison.Ordinal);
        }
        Assert.Contains("block_size=\"16\"", text, StringComparison.Ordinal);
        Assert.Contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 5\n", text, StringComparison.Ordinal);
        Assert.Contains("vllm:prompt_tokens_total{engine=\"0\",model_name=\"tiny\"} 3\n", text, StringComparison.Ordinal);
        Assert.Contains("finished_reason=\"length\"} 1\n", text, StringComparison.Ordinal);
        foreach (string counter in (string[])["prefix_cache_queries_total", "prefix_cache_hits_total", "num_preemptions_total", "admission_rejections_total"])
        {
            Assert.Contains($"# TYPE vllm:{counter} counter\n", text, StringComparison.Ordinal);
        }
        foreach (string cause in (string[])["gc", "transfer", "preemption", "prefill", "unknown"])
        {
            Assert.Contains($"xds:step_outliers_total{{engine=\"0\",model_name=\"tiny\",cause=\"{cause}\"}} ", text, StringComparison.Ordinal);
        }
        const string latency = "0.3 0.5 0.8 1.0 1.5 2.0 2.5 5.0 10.0 15.0 20.0 30.0 40.0 50.0 60.0 120.0 240.0 480.0 960.0 1920.0 7680.0 +Inf";
        Assert.Equal("0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 160.0 640.0 2560.0 +Inf", Buckets(text, "time_to_first_token_seconds"));
        Assert.Equal("0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 +Inf", Buckets(text, "inter_token_latency_seconds"));
        Assert.Equal("1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 16384.0 +Inf", Buckets(text, "iteration_tokens_total"));
        foreach (string name in (string[])["e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds"])
        {
            Assert.Equal(latency, Buckets(text, name));
            Assert.Contains($"vllm:{name}_count{{engine=\"0\",model_name=\"tiny\"}} 1\n", text, StringComparison.Ordinal);
        }
        foreach (string name in (string[])["request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens", "request_params_n", "request_params_max_tokens", "request_time_per_output_token_seconds"])
        {
            Assert.NotEqual("", Buckets(text, name));
        }
        const string residency = "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1.0 2.0 5.0 10.0 20.0 30.0 60.0 120.0 300.0 600.0 1200.0 1800.0 +Inf";
        foreach (string name in (string[])["kv_block_lifetime_seconds", "kv_block_idle_before_evict_seconds", "kv_block_reuse_gap_seconds"])
        {
            Assert.Equal(residency, Buckets(text, name));
        }
        Assert.Contains("http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"2xx\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("http_request_duration_seconds_count{handler=\"/v1/completions\",method=\"POST\"} 1\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task MetricNamesTakeAnotherPrefix()
    {
        await using ServerHost host = await ServerHost.StartAsync(ServerHost.Options with { MetricPrefix = "xds_" });
        string text = await host.TextAsync("/metrics");
        Assert.Contains("\nxds_num_requests_running{", text, StringComparison.Ordinal);
        Assert.DoesNotContain("vllm", text, StringComparison.Ordinal);
    }

    [Fact]
    public void LogsThroughputInTheFormThatScriptsRead()
    {
        EngineLoad before = new(0, 0, 0, 100, 50, 0, 0);
        EngineLoad now = new(3, 2, 0.256, 300, 150, 200, 50);
        Assert.Equal(
            "Engine 000: Avg prompt throughput: 20.0 tokens/s, Avg generation throughput: 10.0 tokens/s, Running: 3 reqs, Waiting: 2 reqs, GPU KV cache usage: 25.6%, Prefix cache hit rate: 25.0%",
            ThroughputLog.Line(before, now, TimeSpan.FromSeconds(10)));
    }

    private static string Buckets(string text, string name) => string.Join(
        ' ',
        Regex.Matches(text, $"^vllm:{name}_bucket\\{{le=\"([^\"]+)\"", RegexOptions.Multiline).Select(match => match.Groups[1].Value));
}
