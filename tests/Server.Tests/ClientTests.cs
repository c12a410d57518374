using System.ClientModel;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Models;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace XDeepServe.Server.Tests;

/// <summary>The clients that people use, unchanged.</summary>
public sealed class ClientTests : IAsyncLifetime
{
    private ServerHost _host = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _host = await ServerHost.StartAsync(ServerHost.Options with { ApiKeys = ["secret"] });

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task OpenAiForDotNetCompletes()
    {
        ChatClient client = Client().GetChatClient("tiny");
        ChatCompletionOptions options = new() { MaxOutputTokenCount = 8, Temperature = 0, IncludeLogProbabilities = true, TopLogProbabilityCount = 2 };
        ChatCompletion answer = await client.CompleteChatAsync([new SystemChatMessage("Be brief."), new UserChatMessage("hi")], options, Cancel);
        Assert.Equal(ChatMessageRole.Assistant, answer.Role);
        Assert.Equal(8, answer.Usage.OutputTokenCount);
        Assert.Equal(0, answer.Usage.InputTokenDetails.CachedTokenCount);
        Assert.Equal(OpenAI.Chat.ChatFinishReason.Length, answer.FinishReason);
        Assert.Equal(8, answer.ContentTokenLogProbabilities.Count);
        Assert.All(answer.ContentTokenLogProbabilities, token => Assert.Equal(2, token.TopLogProbabilities.Count));
    }

    [Fact]
    public async Task OpenAiForDotNetStreams()
    {
        ChatClient client = Client().GetChatClient("tiny");
        ChatCompletionOptions options = new() { MaxOutputTokenCount = 8, Temperature = 0 };
        ChatCompletion whole = await client.CompleteChatAsync([new UserChatMessage("hi")], options, Cancel);
        string text = "";
        ChatTokenUsage? usage = null;
        OpenAI.Chat.ChatFinishReason? finish = null;
        await foreach (StreamingChatCompletionUpdate update in client.CompleteChatStreamingAsync([new UserChatMessage("hi")], options, Cancel))
        {
            text += string.Concat(update.ContentUpdate.Select(part => part.Text));
            usage = update.Usage ?? usage;
            finish = update.FinishReason ?? finish;
        }
        Assert.Equal(string.Concat(whole.Content.Select(part => part.Text)), text);
        Assert.Equal(8, usage!.OutputTokenCount);
        Assert.Equal(OpenAI.Chat.ChatFinishReason.Length, finish);
    }

    [Fact]
    public async Task OpenAiForDotNetEmbeds()
    {
        OpenAI.Embeddings.EmbeddingClient client = Client().GetEmbeddingClient("tiny");
        OpenAI.Embeddings.OpenAIEmbeddingCollection two = await client.GenerateEmbeddingsAsync(["hi", "there"], cancellationToken: Cancel);
        Assert.Equal(2, two.Count);
        Assert.Equal(32, two[0].ToFloats().Length);
        Assert.Equal(1, two[1].ToFloats().ToArray().Sum(value => value * value), 4);
        Assert.Equal(7, two.Usage.InputTokenCount);
        Assert.NotEqual(two[0].ToFloats().ToArray(), two[1].ToFloats().ToArray());
    }

    [Fact]
    public async Task OpenAiForDotNetListsModelsAndReadsErrors()
    {
        OpenAIModelCollection models = await Client().GetOpenAIModelClient().GetModelsAsync(Cancel);
        Assert.Equal(["tiny", "alias"], models.Select(model => model.Id));
        ClientResultException unknown = await Assert.ThrowsAsync<ClientResultException>(
            () => Client().GetChatClient("nope").CompleteChatAsync([new UserChatMessage("hi")], null, Cancel));
        Assert.Equal(404, unknown.Status);
        Assert.Contains("nope", unknown.Message, StringComparison.Ordinal);
        ClientResultException keyless = await Assert.ThrowsAsync<ClientResultException>(
            () => Client("wrong").GetChatClient("tiny").CompleteChatAsync([new UserChatMessage("hi")], null, Cancel));
        Assert.Equal(401, keyless.Status);
    }

    [Fact]
    public async Task ExtensionsAiCompletesAndStreams()
    {
        using IChatClient client = Client().GetChatClient("tiny").AsIChatClient();
        ChatOptions options = new() { MaxOutputTokens = 8, Temperature = 0, StopSequences = ["zzzz"], Seed = 3, TopP = 0.9f };
        List<ChatMessage> messages = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "hi")];
        ChatResponse whole = await client.GetResponseAsync(messages, options, Cancel);
        Assert.Equal(8, whole.Usage!.OutputTokenCount);
        Assert.Equal(Microsoft.Extensions.AI.ChatFinishReason.Length, whole.FinishReason);
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(messages, options, Cancel))
        {
            updates.Add(update);
        }
        ChatResponse gathered = updates.ToChatResponse();
        Assert.Equal(whole.Text, gathered.Text);
        Assert.Equal(8, gathered.Usage!.OutputTokenCount);
        Assert.Equal(ChatRole.Assistant, gathered.Messages[^1].Role);
    }

    [Fact]
    public async Task OpenAiForJavaScriptCompletesAndStreams()
    {
        string folder = SourceFolder();
        if (!await IsThereAsync("node"))
        {
            Assert.Skip("node is not installed: the JavaScript client cannot run.");
        }
        if (!Directory.Exists(Path.Combine(folder, "node_modules", "openai")))
        {
            (int failed, string log) = await RunAsync("npm", folder, "ci", "--no-audit", "--no-fund", "--loglevel=error");
            Assert.True(failed == 0, log);
        }
        (int code, string output) = await RunAsync("node", folder, "client.mjs", _host.ApiUrl.ToString());
        Assert.True(code == 0, output);
        JsonNode seen = JsonNode.Parse(output)!;
        Assert.Equal("""["tiny","alias"]""", seen["models"]!.ToJsonString());
        Assert.Equal("tiny", (string)seen["one"]!);
        Assert.Equal((string)seen["whole"]!, (string)seen["text"]!);
        Assert.Equal((string)seen["whole"]!, (string)seen["gathered"]!);
        Assert.Equal(8, (int)seen["logprobs"]!);
        Assert.Equal("assistant", (string)seen["role"]!);
        Assert.Equal("length", (string)seen["finish"]!);
        Assert.Equal(seen["wholeUsage"]!["completion_tokens"]!.ToJsonString(), seen["usage"]!["completion_tokens"]!.ToJsonString());
        Assert.StartsWith("abc", (string)seen["completion"]![0]!, StringComparison.Ordinal);
        Assert.StartsWith("de", (string)seen["completion"]![1]!, StringComparison.Ordinal);
        Assert.Equal(
            """[{"kind":"NotFoundError","status":404,"param":"model"},{"kind":"BadRequestError","status":400,"param":"temperature"},{"kind":"BadRequestError","status":400,"param":"messages"}]""",
            seen["errors"]!.ToJsonString());
        Assert.Equal("AuthenticationError", (string)seen["refused"]!);
        await ServerHost.UntilAsync(async () => await _host.MetricAsync("vllm:num_requests_running") == 0, "the stream that was left has ended");
    }

    private OpenAIClient Client(string key = "secret") =>
        new(new ApiKeyCredential(key), new OpenAIClientOptions { Endpoint = _host.ApiUrl, RetryPolicy = new System.ClientModel.Primitives.ClientRetryPolicy(0) });

    // The package list lies beside the sources, and so does what it installs.
    private static string SourceFolder([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;

    private static async Task<bool> IsThereAsync(string program)
    {
        try
        {
            return (await RunAsync(program, ".", "--version")).Code == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    private static async Task<(int Code, string Output)> RunAsync(string program, string folder, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(Cancel);
        Task<string> errors = process.StandardError.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, process.ExitCode == 0 ? await output : await output + await errors);
    }
}
