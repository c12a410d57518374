using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Microsoft.Playwright;

namespace XDeepServe.Cli.Tests;

/// <summary>Attention and expert workers as processes: copies that move, a slow one, one that is killed.</summary>
[Collection("processes")]
public sealed class ExpertServiceTests : IAsyncDisposable
{
    private const string Chromium = "/usr/bin/chromium";
    private readonly HttpClient client = new() { Timeout = XdsProcess.Patience };
    private readonly List<string> lines = [];
    private Process? launcher;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("2A2E", "experts", "expert-1", "attention-1", "expert-0 expert-1")]
    [InlineData("2EP", "experts", "rank-1", "rank-0", "rank-0 rank-1")]
    [InlineData("1P+2A2E:2domains", "attention", "expert-1")]
    public async Task Experts_move_die_and_come_back_under_load_and_the_tokens_stay(string topology, string shared, string slow, params string[] laterDeaths)
    {
        string[] proposals = topology == "2EP" ? [] : ["--speculative-config", """{"method":"mtp","num_speculative_tokens":1,"disable_by_batch_size":1000}"""];
        await StartAsync(topology, [.. proposals, "--shared-experts", shared, "--redundant-experts", "8", "--eplb-period", "0.5", "--eplb-threshold", "1", "--eplb-least-tokens", "0", "--lag", $"{slow}=10"]);
        string whole = await XdsProcess.CompleteAsync(client, 24);
        await XdsProcess.UntilAsync(
            async () =>
            {
                Assert.Equal(whole, await XdsProcess.CompleteAsync(client, 24));
                // Whether it is slow at this moment is not asked: on a busy machine the others are, too, now and then.
                return Lines().Any(line => line.Contains($"{slow} is slow", StringComparison.Ordinal)) && Value(await MetricsAsync(), "xds:expert_moves_total") > 0;
            },
            "copies are made and the slow rank is found");
        string told = await MetricsAsync();
        Assert.Contains($"xds:stage_seconds_total{{rank=\"{slow}\",stage=\"moe\"}}", told, StringComparison.Ordinal);
        Assert.Contains($"xds:stage_seconds_total{{rank=\"{(topology == "2EP" ? "rank" : "attention")}-0\",stage=\"wait\"}}", told, StringComparison.Ordinal);
        Assert.Matches("\nxds:dispatch_rows_total{[^}]*} [1-9]", told);
        Assert.True(Value(told, "xds:expert_move_bytes_total") > 0 && Value(told, "xds:expert_move_stall_seconds_max") > 0);
        Assert.Contains($"\nxds:slow_rank{{rank=\"{slow}\"}} ", told, StringComparison.Ordinal);
        using JsonDocument experts = JsonDocument.Parse(await client.GetStringAsync(new Uri("/experts", UriKind.Relative), Cancel));
        Assert.Equal(5, experts.RootElement.GetProperty("layers").GetArrayLength());
        Assert.Equal(32, experts.RootElement.GetProperty("layers")[0].GetProperty("slots").GetArrayLength());
        Assert.Contains(experts.RootElement.GetProperty("ranks").EnumerateArray(), rank => rank.GetProperty("name").GetString() == slow && rank.TryGetProperty("slow", out _));

        if (topology == "2A2E" && File.Exists(Chromium))
            await SeeAsync(slow);
        await DieAsync(whole, slow);
        await XdsProcess.UntilAsync(async () => Value(await MetricsAsync(), "xds:expert_recoveries_total") > 0, "the recovery is told");
        // A worker with attention is one of those that answer: what it had to do is done elsewhere. When all with experts die, all begin anew.
        foreach (string workers in laterDeaths)
            await DieAsync(whole, workers.Split(' '));
        await StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        if (launcher is null)
            return;
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', Lines()));
        if (!launcher.HasExited)
        {
            launcher.Kill(entireProcessTree: true);
            await launcher.WaitForExitAsync();
        }
        launcher.Dispose();
    }

    /// <summary>The page shows what the service says of its experts and its proposals.</summary>
    private async Task SeeAsync(string rank)
    {
        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox"] });
        IPage page = await browser.NewPageAsync();
        await page.GotoAsync(client.BaseAddress!.ToString());
        await XdsProcess.UntilAsync(
            async () =>
            {
                using JsonDocument told = JsonDocument.Parse(await client.GetStringAsync(new Uri("/experts", UriKind.Relative), Cancel));
                JsonElement[] layers = [.. told.RootElement.GetProperty("layers").EnumerateArray()];
                int before = Copies(layers, "slots_before"), after = Copies(layers, "slots");
                return after > 0 && await Text("heat-before-text") == Balance("Before balancing", layers, "before", before) && await Text("heat-after-text") == Balance("After", layers, "after", after)
                    && (await Text("moves")).StartsWith($"{told.RootElement.GetProperty("moves").GetInt64()} copies loaded", StringComparison.Ordinal);
            },
            "the page shows where experts are");
        Assert.Equal(4, await page.Locator("#stages tr").CountAsync());
        Assert.Matches("a2e [0-9]+ · queue [0-9]+ · moe [1-9][0-9]+ · e2a [0-9]+", await page.Locator($"[data-rank='{rank}'] td").InnerTextAsync());
        Assert.Matches("attention [1-9][0-9]* · send [0-9]+ · wait [1-9][0-9]* · round trip [1-9][0-9]*", await page.Locator("[data-rank='attention-0'] td").InnerTextAsync());
        Assert.Matches("^[1-9][0-9.]* %$", await Text("accepted-text"));
        int shades = await page.EvaluateAsync<int>("new Set(document.getElementById('heat-after').getContext('2d').getImageData(0, 0, 32, 5).data.filter((_, i) => i % 4 == 3)).size");
        Assert.True(shades > 2, $"{shades} shades are no map of loads.");

        Task<string> Text(string id) => page.Locator($"#{id}").InnerTextAsync();
        static int Copies(JsonElement[] layers, string slots) => layers.Sum(layer => layer.GetProperty(slots).EnumerateArray().Sum(copies => copies.GetInt32() - 1));
        static string Balance(string title, JsonElement[] layers, string which, int copies) =>
            string.Create(CultureInfo.InvariantCulture, $"{title}: balancedness {layers.Average(layer => layer.GetProperty(which).GetDouble()):0.00}, {copies} copies");
    }

    /// <summary>Workers die in the middle of answers, which end with the same tokens; the workers come back.</summary>
    private async Task DieAsync(string whole, params string[] workers)
    {
        int[] processes = [.. workers.Select(PidOf)];
        int told = Lines().Length;
        Task<string>[] running = [.. Enumerable.Range(0, 6).Select(_ => XdsProcess.CompleteAsync(client, 48))];
        await Task.WhenAll(processes.Select(process => XdsProcess.KillAsync(process, XdsProcess.SigKill)));
        foreach (Task<string> answer in running)
            Assert.StartsWith(whole[..^1], await answer, StringComparison.Ordinal);
        // Where all begin anew, nobody is there to say of the first ones that they are back.
        await XdsProcess.UntilAsync(
            () => Task.FromResult(Array.TrueForAll(workers, worker => Lines().Skip(told).Any(line =>
                line.EndsWith($"{worker} is back.", StringComparison.Ordinal) || line.StartsWith($"{worker}: ready", StringComparison.Ordinal)))),
            $"{string.Join(", ", workers)} come back");
        Assert.Equal(whole, await XdsProcess.CompleteAsync(client, 24));
    }

    private async Task StopAsync()
    {
        await XdsProcess.KillAsync(launcher!.Id, XdsProcess.SigTerm);
        await launcher.WaitForExitAsync(Cancel).WaitAsync(XdsProcess.Patience, Cancel);
        Assert.Equal(0, launcher.ExitCode);
    }

    private Task<string> MetricsAsync() => client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel);

    private static double Value(string metrics, string name) =>
        metrics.Split('\n').FirstOrDefault(line => line.StartsWith($"{name} ", StringComparison.Ordinal)) is { } line ? double.Parse(line[name.Length..], CultureInfo.InvariantCulture) : -1;

    /// <summary>Experts are no part of the control plane: the launcher's log alone names their processes.</summary>
    private int PidOf(string worker)
    {
        string start = $"{worker}: process ";
        return int.Parse(Lines().Last(line => line.StartsWith(start, StringComparison.Ordinal))[start.Length..], CultureInfo.InvariantCulture);
    }

    private string[] Lines()
    {
        lock (lines)
            return [.. lines];
    }

    private async Task StartAsync(string topology, params string[] flags)
    {
        int port = XdsProcess.FreePort();
        client.BaseAddress = new Uri($"http://127.0.0.1:{port.ToString(CultureInfo.InvariantCulture)}");
        launcher = XdsProcess.Start(
            (_, data) =>
            {
                if (data.Data is { } line)
                    lock (lines)
                        lines.Add(line);
            },
            ["serve", "--topology", topology, "--port", port.ToString(CultureInfo.InvariantCulture), "--threads", "1", .. flags]);
        await XdsProcess.UntilAsync(
            async () =>
            {
                Assert.False(launcher.HasExited, string.Join('\n', Lines()));
                return await XdsProcess.IsReadyAsync(client);
            },
            "the service is ready");
    }
}
