using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>H3 and H4: /v1/chat/completions and its events.</summary>
public sealed class ChatTests : IAsyncLifetime
{
    private const string Path = "/v1/chat/completions";
    private const string Hello = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";
    private ServerHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await ServerHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task AnswersInOnePiece()
    {
        JsonNode answer = await _host.JsonAsync(Path, $$"""{"model":"alias",{{Hello}},"max_completion_tokens":5,"temperature":0,"ignore_eos":true}""");
        Assert.Equal("chat.completion", (string)answer["object"]!);
        Assert.StartsWith("chatcmpl-", (string)answer["id"]!, StringComparison.Ordinal);
        Assert.Equal("alias", (string)answer["model"]!);
        JsonNode choice = answer["choices"]![0]!;
        Assert.Equal("assistant", (string)choice["message"]!["role"]!);
        Assert.NotNull((string?)choice["message"]!["content"]);
        Assert.Equal("length", (string)choice["finish_reason"]!);
        Assert.Null(choice["logprobs"]);
        Assert.Equal(5, (int)answer["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task StreamsRoleTextFinishUsageDone()
    {
        string request = $$"""{{{Hello}},"max_tokens":5,"temperature":0,"n":2,"ignore_eos":true""";
        JsonNode whole = await _host.JsonAsync(Path, request + "}");
        List<JsonNode> chunks = await _host.ChunksAsync(Path, request + ""","stream":true,"stream_options":{"include_usage":true}}""");
        Assert.All(chunks, chunk => Assert.Equal("chat.completion.chunk", (string)chunk["object"]!));
        Assert.Single(chunks.Select(chunk => (string)chunk["id"]!).Distinct());
        for (int index = 0; index < 2; index++)
        {
            List<JsonNode> mine = [.. chunks.SelectMany(chunk => chunk["choices"]!.AsArray()).Where(one => (int)one!["index"]! == index).Select(one => one!)];
            Assert.Equal("assistant", (string)mine[0]["delta"]!["role"]!);
            Assert.All(mine.Skip(1), one => Assert.Null(one["delta"]!["role"]));
            Assert.All(mine.SkipLast(1), one => Assert.Null(one["finish_reason"]));
            Assert.Equal("length", (string)mine[^1]["finish_reason"]!);
            Assert.Equal((string)whole["choices"]![index]!["message"]!["content"]!, string.Concat(mine.Select(one => (string?)one["delta"]!["content"])));
        }
        Assert.Empty(chunks[^1]["choices"]!.AsArray());
        Assert.Equal(10, (int)chunks[^1]["usage"]!["completion_tokens"]!);
        Assert.All(chunks.SkipLast(1), chunk => Assert.Null(chunk["usage"]));
    }

    [Fact]
    public async Task GivesLogprobs()
    {
        JsonNode answer = await _host.JsonAsync(Path, $$"""{{{Hello}},"max_tokens":3,"logprobs":true,"top_logprobs":2,"temperature":0,"ignore_eos":true}""");
        JsonArray content = answer["choices"]![0]!["logprobs"]!["content"]!.AsArray();
        Assert.Equal(3, content.Count);
        Assert.All(content, token =>
        {
            Assert.InRange((double)token!["logprob"]!, -9999, 0);
            Assert.NotEmpty(token["bytes"]!.AsArray());
            Assert.Equal(2, token["top_logprobs"]!.AsArray().Count);
        });
    }

    [Fact]
    public async Task TakesContentInParts()
    {
        JsonNode parts = await _host.JsonAsync("/tokenize", """{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}""");
        JsonNode text = await _host.JsonAsync("/tokenize", """{"messages":[{"role":"user","content":"a\nb"}]}""");
        Assert.Equal(text["tokens"]!.ToJsonString(), parts["tokens"]!.ToJsonString());
    }

    [Theory]
    [InlineData("""
        "tool_choice":"none","tools":[{"type":"function","function":{"name":"f"}}]
        """)]
    [InlineData("\"tools\":[],\"tool_choice\":\"auto\"")]
    [InlineData("\"response_format\":{\"type\":\"text\"}")]
    [InlineData("\"user\":\"me\",\"store\":false,\"metadata\":{},\"something_new\":[1]")]
    [InlineData("\"temperature\":null,\"max_tokens\":null,\"stop\":null,\"n\":null,\"logit_bias\":null,\"seed\":null")]
    [InlineData("\"stop\":[\"zzz\",\"yyy\"],\"logit_bias\":{\"97\":-100},\"seed\":-5,\"top_k\":-1")]
    public async Task AcceptsWhatChangesNothing(string fields)
    {
        JsonNode answer = await _host.JsonAsync(Path, $$"""{{{Hello}},{{fields}},"max_completion_tokens":2}""");
        Assert.Single(answer["choices"]!.AsArray());
    }

    [Fact]
    public async Task ContinuesTheLastMessage()
    {
        JsonNode tokens = await _host.JsonAsync("/tokenize", """{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"He"}],"add_generation_prompt":false,"continue_final_message":true}""");
        JsonNode text = await _host.JsonAsync("/detokenize", $$"""{"tokens":{{tokens["tokens"]!.ToJsonString()}}}""");
        Assert.EndsWith("He", (string)text["prompt"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ReturnsTheRequestId()
    {
        using HttpRequestMessage request = new(HttpMethod.Post, Path) { Content = new StringContent($$"""{{{Hello}},"max_tokens":1}""", System.Text.Encoding.UTF8, "application/json") };
        request.Headers.Add("X-Request-Id", "mine-1");
        using HttpResponseMessage response = await _host.Client.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal("mine-1", Assert.Single(response.Headers.GetValues("X-Request-Id")));
        Assert.Contains("chatcmpl-mine-1", await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }
}
