using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace XDeepServe.Cli.Tests;

/// <summary>A service of many processes, as a user starts and ends it, and as misfortune ends parts of it.</summary>
public sealed class ServiceCommandTests : IAsyncDisposable
{
    private const int SigTerm = 15, SigKill = 9;
    private static readonly string Tiny = Path.Combine(Root(), "tests", "golden", "deepseek_v3");
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);
    private readonly HttpClient client = new() { Timeout = Patience };
    private readonly List<string> lines = [];
    private Process? launcher;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Workers_come_up_answer_come_back_and_end_together()
    {
        await StartAsync("1P1D");
        string whole = await CompleteAsync(24);
        Dictionary<string, int> first = await WorkersAsync();
        Assert.Equal(["decode-0", "prefill-0"], first.Keys.Order(StringComparer.Ordinal));
        foreach (string victim in (string[])["decode-0", "prefill-0"])
        {
            int pid = (await WorkersAsync())[victim];
            Task<string>[] running = [.. Enumerable.Range(0, 4).Select(_ => CompleteAsync(24))];
            await KillAsync(pid, SigKill);
            foreach (Task<string> answer in running)
                Assert.Equal(whole, await answer);
            await UntilAsync(async () => (await WorkersAsync()).GetValueOrDefault(victim) is var next && next != 0 && next != pid, $"{victim} comes back");
            Assert.Equal(whole, await CompleteAsync(24));
        }
        int[] last = [.. (await WorkersAsync()).Values];
        await KillAsync(launcher!.Id, SigTerm);
        await launcher.WaitForExitAsync(Cancel).WaitAsync(Patience, Cancel);
        Assert.Equal(0, launcher.ExitCode);
        Assert.DoesNotContain(last, IsAlive);
    }

    [Fact]
    public async Task Workers_end_with_a_launcher_that_is_killed()
    {
        await StartAsync("2");
        int[] workers = [.. (await WorkersAsync()).Values];
        Assert.Equal(2, workers.Length);
        await KillAsync(launcher!.Id, SigKill);
        await UntilAsync(() => Task.FromResult(!workers.Any(IsAlive)), "the workers end");
    }

    [Fact]
    public async Task Workers_that_cannot_start_end_the_launcher()
    {
        Launch("1", "--max-model-len", "100", "--num-gpu-blocks-override", "2");
        await launcher!.WaitForExitAsync(Cancel).WaitAsync(Patience, Cancel);
        Assert.Equal(1, launcher.ExitCode);
        Assert.Contains(lines, line => line.StartsWith("xds: colocated-0 ended 3 times", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains("holds 32 positions", StringComparison.Ordinal));
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        if (launcher is null)
            return;
        if (!launcher.HasExited)
        {
            launcher.Kill(entireProcessTree: true);
            await launcher.WaitForExitAsync();
        }
        launcher.Dispose();
    }

    private async Task StartAsync(string topology)
    {
        Launch(topology);
        await UntilAsync(
            async () =>
            {
                Assert.False(launcher!.HasExited, string.Join('\n', lines));
                try
                {
                    return (await client.GetAsync(new Uri("/ready", UriKind.Relative), Cancel)).IsSuccessStatusCode;
                }
                catch (HttpRequestException)
                {
                    return false;
                }
            },
            "the service is ready");
    }

    private void Launch(string topology, params string[] more)
    {
        using (TcpListener free = new(IPAddress.Loopback, 0))
        {
            free.Start();
            client.BaseAddress = new Uri($"http://127.0.0.1:{((IPEndPoint)free.LocalEndpoint).Port}");
        }
        ProcessStartInfo start = new("dotnet") { RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true };
        foreach (string argument in (string[])[Path.Combine(AppContext.BaseDirectory, "xds.dll"), "serve", Tiny, "--skip-tokenizer-init", "--topology", topology, "--port", $"{client.BaseAddress.Port}", .. more])
            start.ArgumentList.Add(argument);
        launcher = Process.Start(start)!;
        launcher.ErrorDataReceived += Keep;
        launcher.OutputDataReceived += Keep;
        launcher.BeginErrorReadLine();
        launcher.BeginOutputReadLine();
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (lines)
            lines.Add(line.Data ?? "");
    }

    private async Task<string> CompleteAsync(int tokens)
    {
        using StringContent body = new($$"""{"prompt":[1,2,3,4,5,6,7],"max_tokens":{{tokens}},"temperature":0,"ignore_eos":true,"detokenize":false,"return_token_ids":true}""", null, "application/json");
        using HttpResponseMessage response = await client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
        string text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("choices")[0].GetProperty("token_ids").GetRawText();
    }

    /// <summary>Process ids of the workers that run the model, by name, as /metrics tells them.</summary>
    private async Task<Dictionary<string, int>> WorkersAsync()
    {
        Dictionary<string, int> workers = [];
        foreach (string line in (await client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel)).Split('\n'))
        {
            if (line.StartsWith("xds:worker_info{", StringComparison.Ordinal) && !line.Contains("role=\"frontend\"", StringComparison.Ordinal))
                workers[Label(line, "worker")] = int.Parse(Label(line, "pid"), CultureInfo.InvariantCulture);
        }
        return workers;
    }

    private static string Label(string line, string name) => line.Split($"{name}=\"")[1].Split('"')[0];

    private static async Task KillAsync(int pid, int signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", $"{pid}"]);
        await kill.WaitForExitAsync(Cancel);
        Assert.Equal(0, kill.ExitCode);
    }

    private static bool IsAlive(int pid)
    {
        string status = $"/proc/{pid}/status";
        return File.Exists(status) && !File.ReadAllText(status).Contains("State:\tZ", StringComparison.Ordinal);
    }

    private static async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, $"Did not happen: {what}");
            await Task.Delay(50, Cancel);
        }
    }

    private static string Root()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder!.FullName, "XDeepServe.slnx")))
            folder = folder.Parent;
        return folder.FullName;
    }
}
