using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>What became of one request. Times in seconds from a common start.</summary>
internal sealed record LoadResult(double Start, int Prompt, IReadOnlyList<double> Tokens, int Generated, double End, string? Error)
{
    /// <summary>To the first token.</summary>
    public double FirstToken => Tokens[0] - Start;

    /// <summary>To the end.</summary>
    public double Latency => End - Start;

    /// <summary>Mean behind the first token; of use where more than one came.</summary>
    public double TimePerToken => (Latency - FirstToken) / (Generated - 1);
}

/// <summary>Sends streaming requests and notes when tokens come.</summary>
internal sealed class LoadClient : IDisposable
{
    private readonly HttpClient http;
    private readonly string endpoint;
    private readonly bool chat;
    private readonly long origin = Stopwatch.GetTimestamp();

    public LoadClient(Uri server, string endpoint, bool chat, string? apiKey, IEnumerable<(string Name, string Value)> headers)
    {
        (this.endpoint, this.chat) = (endpoint, chat);
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = server, Timeout = Timeout.InfiniteTimeSpan };
        if (apiKey is not null)
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        foreach ((string name, string value) in headers)
            if (!http.DefaultRequestHeaders.TryAddWithoutValidation(name, value))
                throw new ArgumentException($"--header: '{name}' is not the name of a request header.");
    }

    public string Model { get; set; } = "";

    public bool IgnoreEos { get; init; }

    public double? Temperature { get; init; }

    public int? Logprobs { get; init; }

    private double Now => Stopwatch.GetElapsedTime(origin).TotalSeconds;

    /// <summary>The first model that the server lists.</summary>
    public async Task<string> FirstModelAsync(CancellationToken cancel)
    {
        using HttpResponseMessage response = await http.GetAsync("/v1/models", cancel);
        response.EnsureSuccessStatusCode();
        JsonNode? list = await response.Content.ReadFromJsonAsync<JsonNode>(cancel);
        return (string?)list?["data"]?[0]?["id"] ?? throw new HttpRequestException("it lists no model; name one with --model");
    }

    /// <summary>Sends one request and reads its answer to the end.</summary>
    public async Task<LoadResult> SendAsync(LoadRequest load, CancellationToken cancel)
    {
        double start = Now;
        List<double> tokens = [];
        int generated = 0, read = load.Ids?.Length ?? 0;
        try
        {
            using HttpRequestMessage request = new(HttpMethod.Post, endpoint) { Content = JsonContent.Create(Body(load)) };
            using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
            if (!response.IsSuccessStatusCode)
                return new LoadResult(start, read, tokens, 0, Now, $"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync(cancel)}");
            using StreamReader lines = new(await response.Content.ReadAsStreamAsync(cancel));
            while (await lines.ReadLineAsync(cancel) is { } line)
            {
                if (!line.StartsWith("data: ", StringComparison.Ordinal) || line == "data: [DONE]")
                    continue;
                JsonNode? chunk = JsonNode.Parse(line[6..]);
                if (chunk?["error"] is { } error)
                    return new LoadResult(start, read, tokens, 0, Now, error.ToJsonString());
                if (chunk?["usage"] is { } usage)
                    (generated, read) = ((int)usage["completion_tokens"]!, (int)usage["prompt_tokens"]!);
                if (chunk?["choices"] is JsonArray { Count: > 0 } choices && (choices[0]!["text"] ?? choices[0]!["delta"]?["content"]) is not null)
                    tokens.Add(Now);
            }
            return tokens.Count == 0
                ? new LoadResult(start, read, tokens, 0, Now, "The answer had no tokens.")
                : new LoadResult(start, read, tokens, Math.Max(generated, 1), tokens[^1], null);
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException or JsonException)
        {
            return new LoadResult(start, read, tokens, 0, Now, failure.Message);
        }
    }

    public void Dispose() => http.Dispose();

    private JsonObject Body(LoadRequest load)
    {
        JsonObject body = new()
        {
            ["model"] = Model,
            ["max_tokens"] = load.OutputLength,
            ["stream"] = true,
            ["stream_options"] = new JsonObject { ["include_usage"] = true },
        };
        if (chat)
            body["messages"] = new JsonArray(new JsonObject { ["role"] = "user", ["content"] = load.Message });
        else
            body["prompt"] = load.Prompt;
        if (IgnoreEos)
            body["ignore_eos"] = true;
        if (Temperature is { } temperature)
            body["temperature"] = temperature;
        if (Logprobs is { } top && chat)
            (body["logprobs"], body["top_logprobs"]) = (true, top);
        else if (Logprobs is { } best)
            body["logprobs"] = best;
        return body;
    }
}
