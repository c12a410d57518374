using System.Diagnostics;

namespace XDeepServe.Cli.Tests;

/// <summary>A service of many processes, as a user starts and ends it, and as misfortune ends parts of it.</summary>
[Collection("processes")]
public sealed class ServiceCommandTests : IAsyncDisposable
{
    private readonly HttpClient client = new() { Timeout = XdsProcess.Patience };
    private readonly List<string> lines = [];
    private Process? launcher;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Workers_come_up_answer_come_back_and_end_together()
    {
        await StartAsync("1P1D");
        string whole = await CompleteAsync(24);
        Dictionary<string, int> first = await XdsProcess.WorkersAsync(client);
        Assert.Equal(["decode-0", "prefill-0"], first.Keys.Order(StringComparer.Ordinal));
        foreach (string victim in (string[])["decode-0", "prefill-0"])
        {
            int pid = (await XdsProcess.WorkersAsync(client))[victim];
            Task<string>[] running = [.. Enumerable.Range(0, 4).Select(_ => CompleteAsync(24))];
            await XdsProcess.KillAsync(pid, XdsProcess.SigKill);
            foreach (Task<string> answer in running)
                Assert.Equal(whole, await answer);
            await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(client)).GetValueOrDefault(victim) is var next && next != 0 && next != pid, $"{victim} comes back");
            Assert.Equal(whole, await CompleteAsync(24));
        }
        int[] last = [.. (await XdsProcess.WorkersAsync(client)).Values];
        await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigTerm);
        await launcher.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
        Assert.Equal(0, launcher.ExitCode);
        Assert.DoesNotContain(last, XdsProcess.IsAlive);
    }

    [Fact]
    public async Task Workers_end_with_a_launcher_that_is_killed()
    {
        await StartAsync("2");
        int[] workers = [.. (await XdsProcess.WorkersAsync(client)).Values];
        Assert.Equal(2, workers.Length);
        await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigKill);
        await XdsProcess.UntilAsync(() => Task.FromResult(!workers.Any(XdsProcess.IsAlive)), "the workers end");
    }

    [Fact]
    public async Task Workers_that_cannot_start_end_the_launcher()
    {
        Launch("1", "--max-model-len", "100", "--num-gpu-blocks-override", "2");
        await launcher!.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
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
        await XdsProcess.UntilAsync(
            async () =>
            {
                Assert.False(launcher!.HasExited, string.Join('\n', lines));
                return await XdsProcess.IsReadyAsync(client);
            },
            "the service is ready");
    }

    private void Launch(string topology, params string[] more)
    {
        client.BaseAddress = new Uri($"http://127.0.0.1:{XdsProcess.FreePort()}");
        launcher = XdsProcess.Start(Keep, ["serve", XdsProcess.Tiny, "--skip-tokenizer-init", "--topology", topology, "--port", $"{client.BaseAddress.Port}", .. more]);
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (lines)
            lines.Add(line.Data ?? "");
    }

    private Task<string> CompleteAsync(int tokens) => XdsProcess.CompleteAsync(client, tokens);
}
