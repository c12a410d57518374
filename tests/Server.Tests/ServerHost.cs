using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests;

/// <summary>A server on a port of its own, with a tiny random model behind it.</summary>
internal sealed class ServerHost : IAsyncDisposable
{
    public const string ModelName = "tiny";

    private ServerHost(XdsServer server, TinyModel model)
    {
        Server = server;
        Model = model;
        // A reader that leaves closes its connection rather than read the rest for the sake of the next request.
        SocketsHttpHandler handler = new() { MaxResponseDrainSize = 0 };
        Client = new HttpClient(handler, disposeHandler: true) { BaseAddress = server.Url, Timeout = TimeSpan.FromMinutes(2) };
    }

    public XdsServer Server { get; }

    public TinyModel Model { get; }

    public HttpClient Client { get; }

    public Uri ApiUrl => new(Server.Url, "/v1");

    public static ServerOptions Options { get; } = new() { Port = 0, ServedModelNames = [ModelName, "alias"], ModelRoot = "/models/tiny" };

    public static async Task<ServerHost> StartAsync(ServerOptions? options = null, EngineOptions? engine = null, bool tokenizer = true, bool template = true, bool attach = true, TinyModel? model = null)
    {
        XdsServer server = XdsServer.Build(options ?? Options);
        model ??= TinyModel.Create(engine, tokenizer, template);
        await server.StartAsync(TestContext.Current.CancellationToken);
        if (attach)
        {
            server.Attach(model.Served);
        }
        return new ServerHost(server, model);
    }

    public Task<HttpResponseMessage> PostAsync(string path, string body, string type = "application/json") =>
        PostAsync(path, Encoding.UTF8.GetBytes(body), type);

    public async Task<HttpResponseMessage> PostAsync(string path, byte[] body, string type = "application/json")
    {
        ByteArrayContent content = new(body);
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        return await Client.PostAsync(new Uri(path, UriKind.Relative), content, TestContext.Current.CancellationToken);
    }

    /// <summary>The answer's JSON, which must come with status 200.</summary>
    public async Task<JsonNode> JsonAsync(string path, string body)
    {
        using HttpResponseMessage response = await PostAsync(path, body);
        string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }

    public async Task<string> TextAsync(string path) =>
        await Client.GetStringAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);

    public async Task<JsonNode> JsonAsync(string path) => JsonNode.Parse(await TextAsync(path))!;

    /// <summary>The events of a stream, the closing one included.</summary>
    public async Task<List<string>> EventsAsync(string path, string body)
    {
        using HttpResponseMessage response = await PostAsync(path, body);
        string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.True(response.IsSuccessStatusCode, text);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        Assert.EndsWith("\n\n", text, StringComparison.Ordinal);
        List<string> events = [];
        foreach (string block in text[..^2].Split("\n\n"))
        {
            Assert.StartsWith("data: ", block, StringComparison.Ordinal);
            events.Add(block[6..]);
        }
        return events;
    }

    /// <summary>The chunks of a stream, without the closing event.</summary>
    public async Task<List<JsonNode>> ChunksAsync(string path, string body)
    {
        List<string> events = await EventsAsync(path, body);
        Assert.Equal("[DONE]", events[^1]);
        return [.. events[..^1].Select(text => JsonNode.Parse(text)!)];
    }

    /// <summary>Checks that an answer is an error of the given status with the whole error body.</summary>
    public static async Task<JsonNode> ErrorAsync(HttpResponseMessage response, int status)
    {
        string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode}: {text}");
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        JsonObject error = JsonNode.Parse(text)!["error"]!.AsObject();
        Assert.Equal(["message", "type", "param", "code"], error.Select(pair => pair.Key));
        Assert.Equal(status, (int)error["code"]!);
        Assert.NotEqual("", (string)error["message"]!);
        Assert.DoesNotContain("   at ", text, StringComparison.Ordinal);
        return error;
    }

    /// <summary>The value of a sample of /metrics, summed over its series.</summary>
    public async Task<double> MetricAsync(string name)
    {
        double sum = 0;
        foreach (string line in (await TextAsync("/metrics")).Split('\n'))
        {
            if (line.StartsWith(name + "{", StringComparison.Ordinal) || line.StartsWith(name + " ", StringComparison.Ordinal))
            {
                sum += double.Parse(line[(line.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
            }
        }
        return sum;
    }

    /// <summary>Waits until a condition holds; fails when it does not within half a minute.</summary>
    public static async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(30));
        while (!await condition())
        {
            Assert.False(limit.IsCancellationRequested, $"Did not happen: {what}");
            await Task.Yield();
        }
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await Server.StopAsync(new CancellationToken(true));
        await Server.DisposeAsync();
        Model.Dispose();
    }
}
