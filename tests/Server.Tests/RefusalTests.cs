using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;

namespace XDeepServe.Server.Tests;

/// <summary>Requests that are broken below the application still get an error body, and the server goes on.</summary>
public sealed class RefusalTests
{
    [Theory]
    [InlineData("NONSENSE\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505)]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400)]
    [InlineData("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400)]
    [InlineData("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)]
    public async Task BrokenHttpGetsAnErrorBody(string request, int status) => await CheckAsync(request, status);

    [Fact]
    public async Task HeadersThatAreTooLongGetAnErrorBody() =>
        await CheckAsync($"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {new string('a', 100_000)}\r\n\r\n", 431);

    [Fact]
    public async Task ARequestLineThatIsTooLongGetsAnErrorBody() =>
        await CheckAsync($"GET /{new string('a', 100_000)} HTTP/1.1\r\nHost: a\r\n\r\n", 414);

    private static async Task CheckAsync(string request, int status)
    {
        await using ServerHost host = await ServerHost.StartAsync();
        using TcpClient client = new();
        await client.ConnectAsync(host.Server.Url.Host, host.Server.Url.Port, TestContext.Current.CancellationToken);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(request), TestContext.Current.CancellationToken);
        string answer = await ReadAsync(stream);
        Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
        int split = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        Assert.Contains("Content-Type: application/json", answer[..split], StringComparison.Ordinal);
        string body = answer[(split + 4)..];
        Assert.Contains($"Content-Length: {body.Length}\r\n", answer, StringComparison.Ordinal);
        JsonNode error = JsonNode.Parse(body)!["error"]!;
        Assert.Equal(status, (int)error["code"]!);
        Assert.NotEqual("", (string)error["message"]!);
        Assert.NotNull(await host.JsonAsync("/health"));
    }

    // Kestrel cuts a connection whose request it did not read to the end; what came before counts.
    private static async Task<string> ReadAsync(NetworkStream stream)
    {
        StringBuilder text = new();
        byte[] buffer = new byte[4096];
        try
        {
            int read;
            while ((read = await stream.ReadAsync(buffer, TestContext.Current.CancellationToken)) > 0)
            {
                text.Append(Encoding.ASCII.GetString(buffer, 0, read));
            }
        }
        catch (IOException)
        {
            Assert.NotEqual(0, text.Length);
        }
        return text.ToString();
    }
}
