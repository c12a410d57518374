using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace XDeepServe.Cli.Tests;

/// <summary>Starts, asks and kills processes of xds.</summary>
internal static class XdsProcess
{
    public const int SigTerm = 15, SigKill = 9, SigStop = 19, SigCont = 18;

    public static readonly string Tiny = Path.Combine(Root(), "tests", "golden", "deepseek_v3");

    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static Process Start(DataReceivedEventHandler keep, params IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "xds.dll"));
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        Process process = Process.Start(start)!;
        process.ErrorDataReceived += keep;
        process.OutputDataReceived += keep;
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    public static int FreePort()
    {
        using TcpListener free = new(IPAddress.Loopback, 0);
        free.Start();
        return ((IPEndPoint)free.LocalEndpoint).Port;
    }

    public static async Task<bool> IsReadyAsync(HttpClient client)
    {
        try
        {
            return (await client.GetAsync(new Uri("/ready", UriKind.Relative), Cancel)).IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    /// <summary>Token ids of a greedy answer, as JSON.</summary>
    public static async Task<string> CompleteAsync(HttpClient client, int tokens, string prompt = "1,2,3,4,5,6,7", string salt = "xds")
    {
        using StringContent body = new($$"""{"prompt":[{{prompt}}],"cache_salt":"{{salt}}","max_tokens":{{tokens}},"temperature":0,"ignore_eos":true,"detokenize":false,"return_token_ids":true}""", null, "application/json");
        using HttpResponseMessage response = await client.PostAsync(new Uri("/v1/completions", UriKind.Relative), body, Cancel);
        string text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("choices")[0].GetProperty("token_ids").GetRawText();
    }

    /// <summary>Process ids of the workers that run the model, by name, as /metrics tells them.</summary>
    public static async Task<Dictionary<string, int>> WorkersAsync(HttpClient client)
    {
        Dictionary<string, int> workers = [];
        foreach (string line in (await client.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancel)).Split('\n'))
        {
            if (line.StartsWith("xds:worker_info{", StringComparison.Ordinal) && !line.Contains("role=\"frontend\"", StringComparison.Ordinal))
                workers[Label(line, "worker")] = int.Parse(Label(line, "pid"), CultureInfo.InvariantCulture);
        }
        return workers;
    }

    public static async Task KillAsync(int pid, int signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", $"{pid}"]);
        await kill.WaitForExitAsync(Cancel);
        Assert.Equal(0, kill.ExitCode);
    }

    public static bool IsAlive(int pid)
    {
        string status = $"/proc/{pid}/status";
        return File.Exists(status) && !File.ReadAllText(status).Contains("State:\tZ", StringComparison.Ordinal);
    }

    public static async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        long start = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, $"Did not happen: {what}");
            await Task.Delay(50, Cancel);
        }
    }

    private static string Label(string line, string name) => line.Split($"{name}=\"")[1].Split('"')[0];

    public static string Root()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder!.FullName, "XDeepServe.slnx")))
            folder = folder.Parent;
        return folder.FullName;
    }
}
