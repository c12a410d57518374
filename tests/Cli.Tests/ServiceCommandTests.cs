using System.Diagnostics;
using System.Globalization;

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
        using TraceCollector collector = new();
        await StartAsync("1P1D", "--otlp-traces-endpoint", collector.Address, "--otlp-traces-protocol", "http/protobuf");
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
        (ActivityTraceId trace, ActivitySpanId parent) = (ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom());
        client.DefaultRequestHeaders.Add("traceparent", $"00-{trace}-{parent}-01");
        Assert.Equal(whole, await XdsProcess.CompleteAsync(client, 24, salt: "traced"));
        int[] last = [.. (await XdsProcess.WorkersAsync(client)).Values];
        await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigTerm);
        await launcher.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
        Assert.Equal(0, launcher.ExitCode);
        Assert.DoesNotContain(last, XdsProcess.IsAlive);

        // Who ends sends what it has: the request's way through all three processes, under the client's span.
        Assert.Equal(["/v1/traces"], collector.Paths);
        CollectedSpan[] way = [.. collector.Spans.Where(span => span.Trace == $"{trace}" && !span.Name.StartsWith("GET ", StringComparison.Ordinal))];
        CollectedSpan door = Assert.Single(way, span => span.Process == "frontend");
        Assert.Equal(("POST /v1/completions", $"{parent}"), (door.Name, door.Parent));
        CollectedSpan[] behind = [.. way.Where(span => span != door)];
        Assert.All(behind, span => Assert.Equal(door.Id, span.Parent));
        Assert.Equal(
            ["decode-0 decode", "decode-0 kv_transfer", "decode-0 queue", "prefill-0 prefill", "prefill-0 queue"],
            behind.Select(span => $"{span.Process} {span.Name}").Order(StringComparer.Ordinal));
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
            using HttpClient second = await SecondDoorAsync();
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

    [Theory]
    [InlineData("prefill-0")]
    [InlineData("decode-0")]
    public async Task A_worker_killed_in_the_middle_of_a_pull_costs_no_answer(string victim)
    {
        await StartAsync("1P1D");
        string[] expected = await Task.WhenAll(Enumerable.Range(0, 8).Select(LongAsync));
        bool broken = false; // a pull, as the side that pulls tells if it lives
        for (int round = 0; round < 5 && !broken; round++)
        {
            int pid = (await XdsProcess.WorkersAsync(client))[victim];
            Task<string>[] running = [.. Enumerable.Range(0, 64).Select(number => LongAsync(number % 8))];
            await Task.WhenAny(running);
            // Stopped, it leaves what is on its way half done, and the other side comes to wait for it; then it dies.
            await XdsProcess.KillAsync(pid, XdsProcess.SigStop);
            await Task.Delay(200, Cancel);
            await XdsProcess.KillAsync(pid, XdsProcess.SigKill);
            for (int number = 0; number < running.Length; number++)
                Assert.Equal(expected[number % 8], await running[number]);
            await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(client)).ContainsKey(victim), $"{victim} comes back");
            broken = victim == "decode-0" || (await MetricsAsync()).Any(line => line.StartsWith("xds:kv_transfer_failures_total{worker=\"decode-0\"", StringComparison.Ordinal) && !line.EndsWith(" 0", StringComparison.Ordinal));
        }
        Assert.True(broken, "No pull was broken.");
        await XdsProcess.UntilAsync(async () => !(await MetricsAsync()).Any(Stays), "nothing is held or on its way any more");

        static bool Stays(string line) => (line.Contains(":requests_held{", StringComparison.Ordinal) || line.Contains(":requests_arriving{", StringComparison.Ordinal) || line.Contains("kv_transfers_under_way{", StringComparison.Ordinal)) && !line.EndsWith(" 0", StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_load_calls_a_spare_worker_in_and_rest_ends_one_and_nothing_is_dropped()
    {
        string file = Path.Combine(Path.GetTempPath(), $"xds-{Guid.NewGuid():N}.yaml");
        await File.WriteAllTextAsync(file, "workers:\n  - role: colocated\nautoscale:\n  colocated: { min: 1, max: 2, standby: 1, queue-time-out: 0.02, queue-time-in: 0.01, out-after: 1, in-after: 3, cool-down: 1 }\n", Cancel);
        try
        {
            await StartAsync(file, "--max-num-seqs", "1");
            string whole = await CompleteAsync(24);
            string? spare = null;
            await XdsProcess.UntilAsync(() => Task.FromResult((spare = Said("colocated-1: process ").FirstOrDefault()) is not null), "a worker stands by");
            Assert.Equal(["colocated-0"], (await XdsProcess.WorkersAsync(client)).Keys); // it takes no requests yet

            bool enough = false;
            Task[] load = [.. Enumerable.Range(0, 16).Select(async _ =>
            {
                while (!Volatile.Read(ref enough))
                    Assert.Equal(whole, await CompleteAsync(24));
            })];
            await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(client)).Count == 2 || Array.Exists(load, client => client.IsCompleted), "a second worker serves");
            Assert.NotEmpty(Said("colocated-1: called in"));
            Assert.Equal(spare!.Split(' ')[^1], $"{(await XdsProcess.WorkersAsync(client))["colocated-1"]}"); // the same process, with its model loaded
            Volatile.Write(ref enough, true);
            await Task.WhenAll(load);

            await XdsProcess.UntilAsync(
                async () =>
                {
                    Assert.Equal(whole, await CompleteAsync(24));
                    return Said("colocated-").Any(line => line.EndsWith(": has ended", StringComparison.Ordinal));
                },
                "one of them ends");
            Assert.Single(await XdsProcess.WorkersAsync(client));
            Assert.Equal(whole, await CompleteAsync(24));

            // By hand, too.
            await ScaleAsync(2);
            await XdsProcess.UntilAsync(async () => (await XdsProcess.WorkersAsync(client)).Count == 2, "a second worker serves again");
            Assert.DoesNotContain(Said("colocated-"), line => line.Contains("ended with status", StringComparison.Ordinal));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Of_fewer_workers_one_that_only_starts_ends_first()
    {
        await StartAsync("1");
        Dictionary<string, int> before = await XdsProcess.WorkersAsync(client);
        await ScaleAsync(2);
        await XdsProcess.UntilAsync(() => Task.FromResult(Said("colocated-1: process").Length > 0), "a second worker starts");
        int starting = int.Parse(Said("colocated-1: process")[0].Split(' ')[^1], CultureInfo.InvariantCulture);
        await XdsProcess.KillAsync(starting, XdsProcess.SigStop);
        await ScaleAsync(1);
        await XdsProcess.UntilAsync(() => Task.FromResult(Said("colocated-1: is to end before it serves").Length > 0), "it is to end");
        await XdsProcess.KillAsync(starting, XdsProcess.SigCont);
        await XdsProcess.UntilAsync(() => Task.FromResult(Said("colocated-1: has ended").Length > 0), "it ends");
        Assert.Equal(before, await XdsProcess.WorkersAsync(client));
        await CompleteAsync(24);
        Assert.DoesNotContain(Said("colocated-0"), line => line.Contains("end", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_worker_started_by_hand_joins_where_the_launcher_says()
    {
        const string Shown = "Other workers join with ";
        await StartAsync("1");
        using Process own = XdsProcess.Start(Keep, ["worker", XdsProcess.Tiny, "--skip-tokenizer-init", "--threads", "1", "--name", "own", .. Assert.Single(Said(Shown))[Shown.Length..].Split(' ')]);
        try
        {
            await XdsProcess.UntilAsync(
                async () =>
                {
                    Assert.False(own.HasExited, string.Join('\n', lines));
                    return (await XdsProcess.WorkersAsync(client)).ContainsKey("own");
                },
                "the worker has joined");
        }
        finally
        {
            own.Kill();
        }
    }

    [Fact]
    public async Task What_runs_at_a_second_door_has_its_workers_until_it_ends()
    {
        string file = Path.Combine(Path.GetTempPath(), $"xds-{Guid.NewGuid():N}.yaml");
        await File.WriteAllTextAsync(file, "workers:\n  - role: prefill\n  - role: decode\n  - role: frontend\n", Cancel);
        try
        {
            await StartAsync(file);
            using HttpClient second = await SecondDoorAsync();
            await CompleteAsync(24);
            int prefill = (await XdsProcess.WorkersAsync(client))["prefill-0"];
            await XdsProcess.KillAsync(prefill, XdsProcess.SigStop); // the request needs the decode worker when that would be gone
            using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions")
            {
                Content = new StringContent("""{"prompt":[1,2,3],"max_tokens":24,"ignore_eos":true,"detokenize":false,"stream":true,"stream_options":{"include_usage":true}}""", null, "application/json"),
            };
            using HttpResponseMessage answer = await second.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
            await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigTerm);
            await XdsProcess.UntilAsync(async () => !await XdsProcess.IsReadyAsync(second), "the second door takes nothing new");
            await Task.Delay(TimeSpan.FromSeconds(2), Cancel);
            await XdsProcess.KillAsync(prefill, XdsProcess.SigCont);
            string text = await answer.Content.ReadAsStringAsync(Cancel);
            Assert.Contains("\"completion_tokens\":24", text, StringComparison.Ordinal);
            Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
            await launcher.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
            Assert.Equal(0, launcher.ExitCode);
        }
        finally
        {
            File.Delete(file);
        }
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

    private async Task StartAsync(string topology, params string[] more)
    {
        Launch(topology, more);
        await XdsProcess.UntilAsync(
            async () =>
            {
                Assert.False(launcher!.HasExited, string.Join('\n', lines));
                return await XdsProcess.IsReadyAsync(client);
            },
            "the service is ready");
    }

    private async Task<HttpClient> SecondDoorAsync()
    {
        string? door = null;
        await XdsProcess.UntilAsync(() => Task.FromResult((door = Said("frontend-0:").Select(line => line.Split(" at ")[^1].Trim()).FirstOrDefault(text => text.StartsWith("http://", StringComparison.Ordinal))) is not null), "the second door opens");
        HttpClient second = new() { BaseAddress = new Uri(door!), Timeout = XdsProcess.Patience };
        await XdsProcess.UntilAsync(() => XdsProcess.IsReadyAsync(second), "the second front end is ready");
        return second;
    }

    private async Task ScaleAsync(int workers)
    {
        using StringContent body = new($$"""{"role":"colocated","workers":{{workers}}}""", null, "application/json");
        using HttpResponseMessage answer = await client.PostAsync(new Uri("/scale", UriKind.Relative), body, Cancel);
        Assert.Equal($$$"""{"desired":{"colocated":{{{workers}}}}}""", await answer.Content.ReadAsStringAsync(Cancel));
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

    /// <summary>A prompt of many blocks, which no cache knows.</summary>
    private async Task<string> LongAsync(int seed)
    {
        Random random = new(seed);
        string prompt = string.Join(',', Enumerable.Range(0, 900).Select(_ => random.Next(512)));
        return await XdsProcess.CompleteAsync(client, 8, prompt, $"{Guid.NewGuid():N}");
    }

    private async Task<string[]> MetricsAsync() => (await client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel)).Split('\n');

    private Task<string> CompleteAsync(int tokens) => XdsProcess.CompleteAsync(client, tokens);
}
