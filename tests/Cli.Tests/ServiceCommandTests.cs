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
    public async Task Shared_memory_of_killed_workers_is_gone_when_the_service_has_recovered()
    {
        await StartAsync("1P1D");
        string whole = await CompleteAsync(24);
        Dictionary<string, int> first = await XdsProcess.WorkersAsync(client);
        string[] before = Regions(first.Values);
        Assert.NotEmpty(before); // the link between the two
        foreach (int pid in first.Values)
            await XdsProcess.KillAsync(pid, XdsProcess.SigKill);
        Assert.Equal(whole, await CompleteAsync(24)); // waits for both to come back
        Dictionary<string, int> second = await XdsProcess.WorkersAsync(client);
        Assert.Empty(second.Values.Intersect(first.Values));
        Assert.All(before, region => Assert.False(File.Exists(region), region));
        string[] after = Regions(second.Values);
        Assert.NotEmpty(after);
        await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigTerm);
        await launcher.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
        Assert.All(after, region => Assert.False(File.Exists(region), region));
    }

    [Fact]
    public async Task A_topology_file_gives_workers_groups_and_cores_and_the_service_a_second_door()
    {
        string file = Path.Combine(Path.GetTempPath(), $"xds-{Guid.NewGuid():N}.yaml");
        string cores = Environment.ProcessorCount > 1 ? "0-1" : "0";
        await File.WriteAllTextAsync(file, $"workers:\n  - role: colocated\n    groups: 2\n    cores: {cores}\n  - role: frontend\n", Cancel);
        try
        {
            await StartAsync(file);
            string whole = await CompleteAsync(24);
            string? door = null;
            await XdsProcess.UntilAsync(() => Task.FromResult((door = Said("frontend-0:").Select(line => line.Split(" at ")[^1].Trim()).FirstOrDefault(text => text.StartsWith("http://", StringComparison.Ordinal))) is not null), "the second door opens");
            using HttpClient second = new() { BaseAddress = new Uri(door!), Timeout = XdsProcess.Patience };
            await XdsProcess.UntilAsync(() => XdsProcess.IsReadyAsync(second), "the second front end is ready");
            string[] all = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => XdsProcess.CompleteAsync(i % 2 == 0 ? client : second, 24)));
            Assert.All(all, answer => Assert.Equal(whole, answer));
            Assert.Contains("engine=\"1\"", await second.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel), StringComparison.Ordinal);
            int worker = Assert.Single(await XdsProcess.WorkersAsync(client)).Value;
            string[] kept = [.. Directory.GetDirectories($"/proc/{worker}/task").Where(thread => File.ReadAllText($"{thread}/comm").Trim() == "executor").Select(Cores).Order(StringComparer.Ordinal)];
            Assert.Equal(cores == "0" ? ["0", "0"] : ["0", "1"], kept); // each group's executor has a core of its own
        }
        finally
        {
            File.Delete(file);
        }

        static string Cores(string thread) => File.ReadLines($"{thread}/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
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

    private string[] Said(string who)
    {
        lock (lines)
            return [.. lines.Where(line => line.StartsWith(who, StringComparison.Ordinal))];
    }

    /// <summary>Regions of links that processes have mapped.</summary>
    private static string[] Regions(IEnumerable<int> processes) =>
        [.. processes.SelectMany(pid => File.ReadLines($"/proc/{pid}/maps")).Where(line => line.Contains("/dev/shm/xccl-kv", StringComparison.Ordinal) && !line.EndsWith("(deleted)", StringComparison.Ordinal))
            .Select(line => line[line.IndexOf("/dev/shm/", StringComparison.Ordinal)..]).Distinct()];

    private Task<string> CompleteAsync(int tokens) => XdsProcess.CompleteAsync(client, tokens);
}
