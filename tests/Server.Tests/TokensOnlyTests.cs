using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>A server without a tokenizer, or without a template, serves what it can and says why not the rest.</summary>
public sealed class TokensOnlyTests
{
    [Fact]
    public async Task IdsInIdsOut()
    {
        await using ServerHost host = await ServerHost.StartAsync(tokenizer: false);
        JsonNode answer = await host.JsonAsync("/v1/completions", """{"prompt":[1,2,3],"max_tokens":4,"return_token_ids":true,"logprobs":1,"ignore_eos":true}""");
        JsonNode choice = answer["choices"]![0]!;
        Assert.Equal("", (string)choice["text"]!);
        Assert.Equal(4, choice["token_ids"]!.AsArray().Count);
        Assert.Equal([1, 2, 3], choice["prompt_token_ids"]!.AsArray().Select(id => (int)id!));
        Assert.Equal($"token_id:{(int)choice["token_ids"]![0]!}", (string)choice["logprobs"]!["tokens"]![0]!);
        List<JsonNode> chunks = await host.ChunksAsync("/v1/completions", """{"prompt":[1,2,3],"max_tokens":4,"return_token_ids":true,"stream":true,"ignore_eos":true}""");
        Assert.Equal(4, chunks.Sum(chunk => chunk["choices"]![0]!["token_ids"]!.AsArray().Count));
    }

    [Theory]
    [InlineData("/v1/completions", """{"prompt":"text"}""")]
    [InlineData("/v1/completions", """{"prompt":[1],"stop":"a"}""")]
    [InlineData("/v1/chat/completions", """{"messages":[{"role":"user","content":"hi"}]}""")]
    [InlineData("/tokenize", """{"prompt":"text"}""")]
    [InlineData("/detokenize", """{"tokens":[1]}""")]
    public async Task TextIsRefused(string path, string body)
    {
        await using ServerHost host = await ServerHost.StartAsync(tokenizer: false);
        using HttpResponseMessage response = await host.PostAsync(path, body);
        Assert.Contains("token", (string)(await ServerHost.ErrorAsync(response, 400))["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ChatNeedsATemplate()
    {
        await using ServerHost host = await ServerHost.StartAsync(template: false);
        using HttpResponseMessage response = await host.PostAsync("/v1/chat/completions", """{"messages":[{"role":"user","content":"hi"}]}""");
        Assert.Contains("chat template", (string)(await ServerHost.ErrorAsync(response, 400))["message"]!, StringComparison.Ordinal);
    }
}
