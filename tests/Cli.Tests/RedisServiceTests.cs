using System.Collections.Concurrent;
using System.Diagnostics;

namespace XDeepServe.Cli.Tests;

/// <summary>A service whose membership is in Redis: no process is special. Skipped where redis-server is not installed.</summary>
[Collection("processes")]
public sealed class RedisServiceTests : IAsyncDisposable
{
    private readonly ConcurrentQueue<string> lines = new();
    private readonly List<Process> processes = [];
    private readonly List<HttpClient> clients = [];
    private readonly string name = $"test{Guid.NewGuid():N}";
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("xds-redis-");
    private Process? redis;
    private int redisPort;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Whoever_is_killed_Redis_too_the_others_go_on_and_a_newcomer_takes_its_place()
    {
        await StartRedisAsync();
        (HttpClient one, Process front) = Front();
        (HttpClient two, _) = Front();
        Process prefill = Worker("prefill", "p0");
        Process decode = Worker("decode", "d0");
        await Ready(one);
        await Ready(two);
        string whole = await XdsProcess.CompleteAsync(one, 24);
        Assert.Equal(whole, await XdsProcess.CompleteAsync(two, 24));

        // A decode worker dies under load; another joins by hand, which first gets the model from the prefill worker; its requests go on there.
        Task<string>[] running = [.. Enumerable.Range(0, 4).Select(index => XdsProcess.CompleteAsync(index % 2 == 0 ? one : two, 24))];
        await XdsProcess.KillAsync(decode.Id, XdsProcess.SigKill);
        string fetched = Path.Combine(folder.FullName, "model");
        WorkerOf(fetched, "decode", "d1", "--fetch-model");
        foreach (Task<string> answer in running)
            Assert.Equal(whole, await answer);

        Assert.Equal([fetched], Directory.GetFileSystemEntries(folder.FullName));
        Assert.Contains(lines, line => line.Contains("from p0", StringComparison.Ordinal));

        // A front end and a prefill worker die under load: the other front end's requests do not notice.
        Worker("prefill", "p1");
        await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(two)).ContainsKey("p1"), "the second prefill worker joins");
        running = [.. Enumerable.Range(0, 8).Select(number => XdsProcess.CompleteAsync(two, 24, salt: $"{number}"))];
        await Task.WhenAny(running);
        await XdsProcess.KillAsync(front.Id, XdsProcess.SigKill);
        await XdsProcess.KillAsync(prefill.Id, XdsProcess.SigKill);
        foreach (Task<string> answer in running)
            Assert.Equal(whole, await answer);
        await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(two)).Keys.Order(StringComparer.Ordinal).SequenceEqual(["d1", "p1"]), "the dead are forgotten");
        Assert.Equal(whole, await XdsProcess.CompleteAsync(two, 24));

        // Redis dies: the service goes on, and whoever is asked to end does so without it.
        redis!.Kill();
        await redis.WaitForExitAsync(Cancel);
        Assert.Equal(whole, await XdsProcess.CompleteAsync(two, 24));
        Process[] last = [.. processes.Where(process => !process.HasExited)];
        Assert.Equal(3, last.Length);
        foreach (Process process in last)
            await XdsProcess.KillAsync(process.Id, XdsProcess.SigTerm);
        foreach (Process process in last)
            await process.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience / 2, Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        clients.ForEach(client => client.Dispose());
        foreach (Process process in redis is null ? processes : [.. processes, redis])
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
            process.Dispose();
        }
        folder.Delete(recursive: true);
    }

    private async Task StartRedisAsync()
    {
        string? server = Environment.GetEnvironmentVariable("PATH")?.Split(':').Select(folder => Path.Combine(folder, "redis-server")).FirstOrDefault(File.Exists);
        Assert.SkipWhen(server is null, "redis-server is not installed.");
        redisPort = XdsProcess.FreePort();
        ProcessStartInfo start = new(server!) { RedirectStandardOutput = true };
        foreach (string argument in (string[])["--port", $"{redisPort}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            start.ArgumentList.Add(argument);
        redis = Process.Start(start)!;
        redis.OutputDataReceived += Keep;
        redis.BeginOutputReadLine();
        await XdsProcess.UntilAsync(() => Task.FromResult(lines.Any(line => line.Contains("Ready to accept connections", StringComparison.Ordinal))), "Redis is ready");
    }

    private (HttpClient Client, Process Process) Front()
    {
        int port = XdsProcess.FreePort();
        HttpClient client = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}"), Timeout = XdsProcess.Patience };
        clients.Add(client);
        return (client, Worker("frontend", $"f{port}", "--port", $"{port}"));
    }

    private Process Worker(string role, string worker, params string[] more) => WorkerOf(XdsProcess.Tiny, role, worker, more);

    private Process WorkerOf(string model, string role, string worker, params string[] more)
    {
        Process process = XdsProcess.Start(
            Keep,
            ["worker", model, "--skip-tokenizer-init", "--role", role, "--name", worker, "--cluster", $"redis://127.0.0.1:{redisPort}", "--service-name", name, "--threads", "1", .. more]);
        processes.Add(process);
        return process;
    }

    private Task Ready(HttpClient client) => XdsProcess.UntilAsync(
        async () =>
        {
            Assert.False(processes.Any(process => process.HasExited), string.Join('\n', lines));
            return await XdsProcess.IsReadyAsync(client);
        },
        "the front end is ready");

    private void Keep(object sender, DataReceivedEventArgs line) => lines.Enqueue(line.Data ?? "");
}
