using System.Text;
using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>H5: whatever is wrong with a request, the answer is a clear 4xx that names the field.</summary>
public sealed class BadInputTests : IAsyncLifetime
{
    private const string Hello = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";
    private ServerHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await ServerHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("\"temperature\":\"hot\"", "temperature")]
    [InlineData("\"temperature\":-0.1", "temperature")]
    [InlineData("\"temperature\":1e999", "temperature")]
    [InlineData("\"temperature\":true", "temperature")]
    [InlineData("\"top_p\":0", "top_p")]
    [InlineData("\"top_p\":1.5", "top_p")]
    [InlineData("\"top_k\":-2", "top_k")]
    [InlineData("\"top_k\":1.5", "top_k")]
    [InlineData("\"min_p\":2", "min_p")]
    [InlineData("\"repetition_penalty\":0", "repetition_penalty")]
    [InlineData("\"presence_penalty\":3", "presence_penalty")]
    [InlineData("\"frequency_penalty\":-3", "frequency_penalty")]
    [InlineData("\"max_tokens\":0", "max_tokens")]
    [InlineData("\"max_tokens\":-1", "max_tokens")]
    [InlineData("\"max_tokens\":\"5\"", "max_tokens")]
    [InlineData("\"max_tokens\":1.5", "max_tokens")]
    [InlineData("\"max_tokens\":100000", "max_tokens")]
    [InlineData("\"max_tokens\":99999999999999999999", "max_tokens")]
    [InlineData("\"max_tokens\":1e300", "max_tokens")]
    [InlineData("\"max_completion_tokens\":0", "max_completion_tokens")]
    [InlineData("\"max_completion_tokens\":100000", "max_completion_tokens")]
    [InlineData("\"min_tokens\":-1", "min_tokens")]
    [InlineData("\"min_tokens\":9,\"max_tokens\":3", "min_tokens")]
    [InlineData("\"n\":0", "n")]
    [InlineData("\"n\":1000000", "n")]
    [InlineData("\"best_of\":3", "best_of")]
    [InlineData("\"stop\":5", "stop")]
    [InlineData("\"stop\":[\"\"]", "stop")]
    [InlineData("\"stop\":[1]", "stop")]
    [InlineData("\"stop_token_ids\":[-1]", "stop_token_ids")]
    [InlineData("\"stop_token_ids\":[999999]", "stop_token_ids")]
    [InlineData("\"logit_bias\":[]", "logit_bias")]
    [InlineData("\"logit_bias\":{\"x\":1}", "logit_bias")]
    [InlineData("\"logit_bias\":{\"999999\":1}", "logit_bias")]
    [InlineData("\"logit_bias\":{\"5\":1000}", "logit_bias")]
    [InlineData("\"seed\":1.5", "seed")]
    [InlineData("\"seed\":99999999999999999999", "seed")]
    [InlineData("\"logprobs\":1", "logprobs")]
    [InlineData("\"top_logprobs\":2", "top_logprobs")]
    [InlineData("\"logprobs\":true,\"top_logprobs\":21", "top_logprobs")]
    [InlineData("\"prompt_logprobs\":1,\"stream\":true", "prompt_logprobs")]
    [InlineData("\"stream\":\"yes\"", "stream")]
    [InlineData("\"stream_options\":{\"include_usage\":true}", "stream_options")]
    [InlineData("\"stream\":true,\"stream_options\":{\"include_usage\":1}", "stream_options.include_usage")]
    [InlineData("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]", "tools")]
    [InlineData("\"tool_choice\":\"required\"", "tool_choice")]
    [InlineData("\"response_format\":{\"type\":\"json_object\"}", "response_format")]
    [InlineData("\"structured_outputs\":{\"regex\":\"a\"}", "structured_outputs")]
    [InlineData("\"allowed_token_ids\":[1,2]", "allowed_token_ids")]
    [InlineData("\"bad_words\":[\"a\"]", "bad_words")]
    [InlineData("\"modalities\":[\"audio\"]", "modalities")]
    [InlineData("\"use_beam_search\":true", "use_beam_search")]
    [InlineData("\"chat_template\":\"x\"", "chat_template")]
    [InlineData("\"chat_template_kwargs\":[]", "chat_template_kwargs")]
    [InlineData("\"chat_template_kwargs\":{\"messages\":[]}", "chat_template_kwargs")]
    [InlineData("\"continue_final_message\":true", "continue_final_message")]
    [InlineData("\"truncate_prompt_tokens\":0", "truncate_prompt_tokens")]
    [InlineData("\"cache_salt\":\"\"", "cache_salt")]
    public async Task NamesTheFieldAtFault(string fields, string param)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/chat/completions", $$"""{{{Hello}},{{fields}}}""");
        JsonNode error = await ServerHost.ErrorAsync(response, 400);
        Assert.Equal("BadRequestError", (string)error["type"]!);
        Assert.Equal(param, (string?)error["param"]);
    }

    [Theory]
    [InlineData("\"max_tokens\":99999999999999999999", "'max_tokens' must be between 1 and 2147483647, but is 1E+20.")]
    [InlineData("\"max_tokens\":9999999999", "'max_tokens' must be between 1 and 2147483647, but is 9999999999.")]
    [InlineData("\"stop_token_ids\":[-1]", "'stop_token_ids' must be between 0 and ")]
    public async Task SaysWhatWouldDo(string fields, string message)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/chat/completions", $$"""{{{Hello}},{{fields}}}""");
        Assert.StartsWith(message, (string)(await ServerHost.ErrorAsync(response, 400))["message"]!, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", "messages")]
    [InlineData("""{"messages":[]}""", "messages")]
    [InlineData("""{"messages":null}""", "messages")]
    [InlineData("""{"messages":"hi"}""", "messages")]
    [InlineData("""{"messages":["hi"]}""", "messages[0]")]
    [InlineData("""{"messages":[{"content":"hi"}]}""", "messages[0].role")]
    [InlineData("""{"messages":[{"role":"wizard","content":"hi"}]}""", "messages[0].role")]
    [InlineData("""{"messages":[{"role":"tool","content":"hi"}]}""", "messages[0].role")]
    [InlineData("""{"messages":[{"role":"user"}]}""", "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":7}]}""", "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}""", "messages[0].content[0]")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"text"}]}]}""", "messages[0].content[0].text")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"id":"1"}]}]}""", "messages[0].tool_calls")]
    public async Task ChecksMessages(string body, string param)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/chat/completions", body);
        Assert.Equal(param, (string?)(await ServerHost.ErrorAsync(response, 400))["param"]);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("""{"prompt":""}""")]
    [InlineData("""{"prompt":[]}""")]
    [InlineData("""{"prompt":[[]]}""")]
    [InlineData("""{"prompt":[""]}""")]
    [InlineData("""{"prompt":[1,"a"]}""")]
    [InlineData("""{"prompt":["a",1]}""")]
    [InlineData("""{"prompt":[1.5]}""")]
    [InlineData("""{"prompt":[-1]}""")]
    [InlineData("""{"prompt":[99999999]}""")]
    [InlineData("""{"prompt":{}}""")]
    [InlineData("""{"prompt":7}""")]
    public async Task ChecksPrompts(string body)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", body);
        Assert.Equal("prompt", (string?)(await ServerHost.ErrorAsync(response, 400))["param"]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("\"text\"")]
    [InlineData("{\"prompt\":\"a\",}")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":NaN}")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":Infinity}")]
    [InlineData("{\"prompt\":\"a\",\"prompt\":\"b\"}")]
    [InlineData("{\"prompt\":\"\\ud800\"}")]
    [InlineData("{\"prompt\":\"a\"}{}")]
    public async Task RefusesBrokenJson(string body)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", body);
        await ServerHost.ErrorAsync(response, 400);
    }

    [Fact]
    public async Task SaysWhereJsonBreaks()
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", "{\n \"prompt\": oops }");
        Assert.Contains("LineNumber: 1", (string)(await ServerHost.ErrorAsync(response, 400))["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RefusesInvalidUtf8()
    {
        byte[] body = [.. Encoding.UTF8.GetBytes("{\"prompt\":\""), 0xC3, 0x28, .. Encoding.UTF8.GetBytes("\"}")];
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", body);
        Assert.Contains("UTF-8", (string)(await ServerHost.ErrorAsync(response, 400))["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RefusesDeepNesting()
    {
        string deep = string.Concat(Enumerable.Repeat("[", 100_000));
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", "{\"prompt\":" + deep);
        await ServerHost.ErrorAsync(response, 400);
    }

    [Fact]
    public async Task RefusesOtherMediaTypes()
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", "prompt=a", "application/x-www-form-urlencoded");
        await ServerHost.ErrorAsync(response, 415);
    }

    [Fact]
    public async Task RefusesABodyOverTheLimit()
    {
        string body = "{\"prompt\":\"" + new string('a', 10 * 1024 * 1024) + "\"}";
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", body);
        await ServerHost.ErrorAsync(response, 413);
    }

    [Fact]
    public async Task RefusesAChunkedBodyOverTheLimit()
    {
        using StreamContent content = new(new MemoryStream(new byte[12_000_000]));
        content.Headers.ContentType = new("application/json");
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions") { Content = content };
        request.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage response = await _host.Client.SendAsync(request, TestContext.Current.CancellationToken);
        await ServerHost.ErrorAsync(response, 413);
    }

    [Theory]
    [InlineData(9_000_000)]
    [InlineData(5_000)]
    public async Task NamesBothLengthsOfAPromptThatIsTooLong(int length)
    {
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", "{\"prompt\":\"" + new string('a', length) + "\"}");
        JsonNode error = await ServerHost.ErrorAsync(response, 400);
        Assert.Equal("prompt", (string)error["param"]!);
        Assert.Contains($"{_host.Model.Served.MaxModelLength}", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RefusesStopListsThatAreTooLong()
    {
        string stops = string.Join(',', Enumerable.Range(0, 1000).Select(i => $"\"s{i}\""));
        using HttpResponseMessage response = await _host.PostAsync("/v1/completions", $$"""{"prompt":"a","stop":[{{stops}}]}""");
        Assert.Equal("stop", (string?)(await ServerHost.ErrorAsync(response, 400))["param"]);
    }

    [Theory]
    [InlineData("/v1/chat/completions", "{\"model\":\"gpt-4\"," + Hello + "}")]
    [InlineData("/v1/completions", """{"model":"gpt-4","prompt":"a"}""")]
    [InlineData("/tokenize", """{"model":"gpt-4","prompt":"a"}""")]
    public async Task RefusesUnknownModels(string path, string body)
    {
        using HttpResponseMessage response = await _host.PostAsync(path, body);
        JsonNode error = await ServerHost.ErrorAsync(response, 404);
        Assert.Equal("NotFoundError", (string)error["type"]!);
        Assert.Equal("model", (string)error["param"]!);
    }

    [Theory]
    [InlineData("GET", "/nothing", 404)]
    [InlineData("GET", "/v1/nothing", 404)]
    [InlineData("GET", "/v1/models/nothing", 404)]
    [InlineData("GET", "/v1/completions", 405)]
    [InlineData("DELETE", "/v1/models", 405)]
    [InlineData("POST", "/health", 405)]
    public async Task RouterRefusalsHaveTheErrorBody(string method, string path, int status)
    {
        using HttpRequestMessage request = new(new HttpMethod(method), path);
        using HttpResponseMessage response = await _host.Client.SendAsync(request, TestContext.Current.CancellationToken);
        await ServerHost.ErrorAsync(response, status);
        Assert.Equal(status == 405, response.Content.Headers.Allow.Count > 0);
    }

    [Fact]
    public async Task GoesOnServing()
    {
        foreach (string body in (string[])["{", "", "{\"prompt\":[-1]}", "{\"prompt\":\"a\",\"n\":0}"])
        {
            using HttpResponseMessage refused = await _host.PostAsync("/v1/completions", body);
            Assert.False(refused.IsSuccessStatusCode);
        }
        JsonNode answer = await _host.JsonAsync("/v1/completions", """{"prompt":"abc","max_tokens":2}""");
        Assert.Single(answer["choices"]!.AsArray());
    }
}
