using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Server.Control.Frontend;

namespace XDeepServe.Server.Tests.Control;

/// <summary>A router of its own sends a prompt to one server and goes on at another, with kv_transfer_params.</summary>
public sealed class KvTransferTests
{
    private static CancellationToken Cancel => TestService.Cancel;

    [Theory]
    [InlineData("1P1D")]
    [InlineData("2")]
    [InlineData("1")]
    public async Task ARequestGoesOnWhereItsParamsAreSent(string topology)
    {
        await using TestService service = await TestService.StartAsync(topology);
        ClusterEngine other = await service.AddFrontAsync();
        await other.ReadyAsync(service.Members.Count, Cancel);
        await using Door first = await Door.OpenAsync(service.Front), second = await Door.OpenAsync(other);
        for (int number = 0; number < 4; number++)
        {
            JsonObject request = Request(40 + 33 * number, number);
            JsonNode whole = (await first.PostAsync(request)).Body;
            JsonObject half = (JsonObject)request.DeepClone();
            (half["max_tokens"], half["kv_transfer_params"]) = (1, JsonNode.Parse("""{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}"""));
            // The first half comes in one piece or as a stream, whose last chunk holds the params.
            half["stream"] = number % 2 == 1;
            JsonNode prefilled = number % 2 == 1 ? await first.StreamAsync(half) : (await first.PostAsync(half)).Body;
            Assert.Equal("length", prefilled["choices"]![0]!["finish_reason"]!.GetValue<string>());
            Assert.Equal(Ids(whole)[..1], Ids(prefilled));
            JsonNode offer = prefilled["kv_transfer_params"]!;
            Assert.True(offer["do_remote_prefill"]!.GetValue<bool>());
            Assert.Equal((40 + 33 * number + 15) / 16, offer["remote_block_ids"]!.AsArray().Count);
            Assert.Equal("127.0.0.1", offer["remote_host"]!.GetValue<string>());

            JsonObject rest = (JsonObject)request.DeepClone();
            rest["kv_transfer_params"] = offer.DeepClone();
            JsonNode decoded = (await second.PostAsync(rest)).Body;
            Assert.Equal(Ids(whole), Ids(decoded));
            Assert.Null(decoded["kv_transfer_params"]);
            // It was fetched: nobody can have it twice, and whoever tries computes it.
            Assert.Equal(Ids(whole), Ids((await second.PostAsync(rest)).Body));
        }
        if (topology == "1P1D")
        {
            Assert.Contains("xds:kv_transfers_total{worker=\"decode-0\",role=\"decode\"} 8\n", await service.Front.MetricsAsync("vllm:", "tiny"), StringComparison.Ordinal); // four of whole requests, four of halves
        }
        await service.IdleAsync();
    }

    [Fact]
    public async Task WhatNobodyComesForIsFreedAndWhatIsWrongIsRefused()
    {
        await using TestService service = await TestService.StartAsync("1P1D", engine: _ => TestService.Engine with { HoldLease = TimeSpan.FromMilliseconds(200) });
        await using Door door = await Door.OpenAsync(service.Front);
        JsonObject half = Request(50, 1);
        half["kv_transfer_params"] = JsonNode.Parse("""{"do_remote_decode":true}""");
        JsonNode offer = (await door.PostAsync(half)).Body["kv_transfer_params"]!;
        await service.IdleAsync(); // the lease has ended

        JsonObject rest = Request(50, 1);
        rest["kv_transfer_params"] = offer.DeepClone();
        Assert.Equal(HttpStatusCode.OK, (await door.PostAsync(rest)).Status);
        JsonObject stranger = Request(50, 2);
        stranger["kv_transfer_params"] = offer.DeepClone();
        await RefusedAsync(stranger, "another prompt");
        stranger["kv_transfer_params"]!["remote_engine_id"] = "nobody";
        await RefusedAsync(stranger, "remote_engine_id");
        stranger["kv_transfer_params"] = JsonNode.Parse("""{"do_remote_decode":true,"do_remote_prefill":true}""");
        await RefusedAsync(stranger, "one half or the other");
        half["n"] = 2;
        await RefusedAsync(half, "one choice");
        await service.IdleAsync();

        async Task RefusedAsync(JsonObject request, string reason)
        {
            (HttpStatusCode status, JsonNode body) = await door.PostAsync(request);
            Assert.Equal(HttpStatusCode.BadRequest, status);
            Assert.Contains(reason, body["error"]!["message"]!.GetValue<string>(), StringComparison.Ordinal);
            Assert.Equal("kv_transfer_params", body["error"]!["param"]!.GetValue<string>());
        }
    }

    private static int[] Ids(JsonNode answer) => [.. answer["choices"]![0]!["token_ids"]!.AsArray().Select(id => id!.GetValue<int>())];

    private static JsonObject Request(int length, int seed)
    {
        Random random = new(seed);
        return new JsonObject
        {
            ["prompt"] = new JsonArray([.. Enumerable.Range(0, length).Select(_ => (JsonNode)random.Next(256))]),
            ["max_tokens"] = 12,
            ["temperature"] = 0.8,
            ["seed"] = seed,
            ["ignore_eos"] = true,
            ["detokenize"] = false,
            ["return_token_ids"] = true,
        };
    }

    /// <summary>A front end's HTTP side.</summary>
    private sealed class Door : IAsyncDisposable
    {
        private readonly XdsServer _server = XdsServer.Build(ServerHost.Options);
        private readonly HttpClient _client = new();

        public static async Task<Door> OpenAsync(ClusterEngine engine)
        {
            Door door = new();
            await door._server.StartAsync(Cancel);
            door._client.BaseAddress = door._server.Url;
            door._server.Attach(new ServedModel { Engine = engine, MaxModelLength = 512, VocabularySize = TinyModel.Vocabulary });
            return door;
        }

        public async Task<(HttpStatusCode Status, JsonNode Body)> PostAsync(JsonObject request)
        {
            using StringContent body = new(request.ToJsonString(), Encoding.UTF8, "application/json");
            using HttpResponseMessage response = await _client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
            return (response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync(Cancel))!);
        }

        /// <summary>A stream's chunks put together as an answer in one piece has them.</summary>
        public async Task<JsonNode> StreamAsync(JsonObject request)
        {
            using StringContent body = new(request.ToJsonString(), Encoding.UTF8, "application/json");
            using HttpResponseMessage response = await _client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
            string[] events = [.. (await response.Content.ReadAsStringAsync(Cancel)).Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(line => line["data: ".Length..])];
            Assert.Equal("[DONE]", events[^1]);
            JsonNode[] chunks = [.. events[..^1].Select(text => JsonNode.Parse(text)!)];
            Assert.All(chunks[..^1], chunk => Assert.Null(chunk["kv_transfer_params"]));
            chunks[^1]["choices"]![0]!["token_ids"] = new JsonArray([.. chunks.SelectMany(Ids).Select(id => (JsonNode)id)]);
            return chunks[^1];
        }

        public async ValueTask DisposeAsync()
        {
            _client.Dispose();
            await _server.StopAsync(new CancellationToken(true));
            await _server.DisposeAsync();
        }
    }
}
