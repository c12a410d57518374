using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>H2: /v1/completions.</summary>
public sealed class CompletionTests : IAsyncLifetime
{
    private const string Path = "/v1/completions";
    private ServerHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await ServerHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("""{"model":"tiny","prompt":"abc","max_tokens":4,"temperature":0,"ignore_eos":true}""", 1)]
    [InlineData("""{"prompt":["abc","de"],"max_tokens":4,"temperature":0,"ignore_eos":true}""", 2)]
    [InlineData("""{"prompt":[97,98,99],"max_tokens":4,"temperature":0,"ignore_eos":true}""", 1)]
    [InlineData("""{"prompt":[[97,98,99],[100]],"max_tokens":4,"temperature":0,"ignore_eos":true}""", 2)]
    [InlineData("""{"prompt":["abc","de"],"n":3,"max_tokens":4,"temperature":1,"ignore_eos":true}""", 6)]
    public async Task TakesEveryFormOfPrompt(string body, int choices)
    {
        JsonNode answer = await _host.JsonAsync(Path, body);
        Assert.Equal("text_completion", (string)answer["object"]!);
        Assert.StartsWith("cmpl-", (string)answer["id"]!, StringComparison.Ordinal);
        Assert.Equal("tiny", (string)answer["model"]!);
        JsonArray list = answer["choices"]!.AsArray();
        Assert.Equal(Enumerable.Range(0, choices), list.Select(choice => (int)choice!["index"]!));
        Assert.All(list, choice => Assert.Equal("length", (string)choice!["finish_reason"]!));
        Assert.Equal(choices * 4, (int)answer["usage"]!["completion_tokens"]!);
        Assert.Equal((int)answer["usage"]!["prompt_tokens"]! + (choices * 4), (int)answer["usage"]!["total_tokens"]!);
        Assert.NotNull(answer["usage"]!["prompt_tokens_details"]!["cached_tokens"]);
    }

    [Fact]
    public async Task TextAndItsIdsAreTheSamePrompt()
    {
        JsonNode text = await _host.JsonAsync(Path, """{"prompt":"abc","max_tokens":8,"temperature":0,"return_token_ids":true,"ignore_eos":true}""");
        JsonNode choice = text["choices"]![0]!;
        string ids = choice["prompt_token_ids"]!.ToJsonString();
        JsonNode same = await _host.JsonAsync(Path, $$"""{"prompt":{{ids}},"max_tokens":8,"temperature":0,"return_token_ids":true,"ignore_eos":true}""");
        Assert.Equal(choice["token_ids"]!.ToJsonString(), same["choices"]![0]!["token_ids"]!.ToJsonString());
        Assert.Equal((string)choice["text"]!, (string)same["choices"]![0]!["text"]!);
    }

    [Fact]
    public async Task DefaultsTo16Tokens()
    {
        JsonNode answer = await _host.JsonAsync(Path, """{"prompt":"abc","ignore_eos":true}""");
        Assert.Equal(16, (int)answer["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task EchoesThePromptWithItsLogprobs()
    {
        JsonNode answer = await _host.JsonAsync(Path, """{"prompt":"abc","echo":true,"logprobs":2,"max_tokens":3,"temperature":0,"ignore_eos":true}""");
        JsonNode choice = answer["choices"]![0]!;
        Assert.StartsWith("abc", (string)choice["text"]!, StringComparison.Ordinal);
        JsonNode logprobs = choice["logprobs"]!;
        Assert.Equal(6, logprobs["tokens"]!.AsArray().Count);
        Assert.Equal(6, logprobs["token_logprobs"]!.AsArray().Count);
        Assert.Equal(6, logprobs["top_logprobs"]!.AsArray().Count);
        Assert.Equal([0, 1, 2, 3], logprobs["text_offset"]!.AsArray().Take(4).Select(offset => (int)offset!));
        Assert.Null(logprobs["token_logprobs"]![0]);
        Assert.All(logprobs["token_logprobs"]!.AsArray().Skip(1), value => Assert.InRange((double)value!, -9999, 0));
    }

    [Fact]
    public async Task EchoWithoutNewTokensGivesThePromptAlone()
    {
        JsonNode answer = await _host.JsonAsync(Path, """{"prompt":"abc","echo":true,"logprobs":1,"max_tokens":0}""");
        Assert.Equal("abc", (string)answer["choices"]![0]!["text"]!);
        Assert.Equal(3, answer["choices"]![0]!["logprobs"]!["tokens"]!.AsArray().Count);
        Assert.Equal(0, (int)answer["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task GivesPromptLogprobs()
    {
        JsonNode answer = await _host.JsonAsync(Path, """{"prompt":[97,98,99],"prompt_logprobs":2,"max_tokens":1}""");
        JsonArray logprobs = answer["choices"]![0]!["prompt_logprobs"]!.AsArray();
        Assert.Equal(3, logprobs.Count);
        Assert.Null(logprobs[0]);
        JsonNode second = logprobs[1]!["98"]!;
        Assert.InRange((double)second["logprob"]!, -9999, 0);
        Assert.True((int)second["rank"]! >= 1);
        Assert.Equal("b", (string)second["decoded_token"]!);
    }

    [Fact]
    public async Task StreamsWhatItAnswersInOnePiece()
    {
        const string request = """{"prompt":["abc","xy"],"n":1,"max_tokens":6,"temperature":0,"logprobs":1,"return_token_ids":true,"ignore_eos":true""";
        JsonNode whole = await _host.JsonAsync(Path, request + "}");
        List<JsonNode> chunks = await _host.ChunksAsync(Path, request + ""","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}""");
        foreach (JsonNode? choice in whole["choices"]!.AsArray())
        {
            List<JsonNode> mine = [.. chunks.SelectMany(chunk => chunk["choices"]!.AsArray()).Where(one => (int)one!["index"]! == (int)choice!["index"]!).Select(one => one!)];
            Assert.Equal((string)choice!["text"]!, string.Concat(mine.Select(one => (string)one["text"]!)));
            Assert.Equal(Ints(choice["token_ids"]!), mine.SelectMany(one => Ints(one["token_ids"]!)));
            Assert.Equal(choice["prompt_token_ids"]!.ToJsonString(), mine[0]["prompt_token_ids"]!.ToJsonString());
            Assert.Equal(Ints(choice["logprobs"]!["text_offset"]!), mine.SelectMany(one => Ints(one["logprobs"]!["text_offset"]!)));
            Assert.Equal("length", (string)mine[^1]["finish_reason"]!);
        }
        Assert.All(chunks, chunk => Assert.NotNull(chunk["usage"]));
        Assert.Empty(chunks[^1]["choices"]!.AsArray());
        Assert.Equal(12, (int)chunks[^1]["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task SeedsRepeat()
    {
        const string request = """{"prompt":"abc","max_tokens":12,"temperature":1,"seed":7,"return_token_ids":true}""";
        JsonNode first = await _host.JsonAsync(Path, request);
        JsonNode second = await _host.JsonAsync(Path, request);
        Assert.Equal(first["choices"]![0]!["token_ids"]!.ToJsonString(), second["choices"]![0]!["token_ids"]!.ToJsonString());
    }

    [Fact]
    public async Task TruncatesPromptsOnDemand()
    {
        JsonNode answer = await _host.JsonAsync(Path, """{"prompt":[97,98,99,100],"truncate_prompt_tokens":2,"max_tokens":1,"return_token_ids":true}""");
        Assert.Equal([99, 100], Ints(answer["choices"]![0]!["prompt_token_ids"]!));
    }

    private static IEnumerable<int> Ints(JsonNode array) => array.AsArray().Select(id => (int)id!);
}
