using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Cli.Bench;

/// <summary>Where the requests of a benchmark come from: the data sets of <c>vllm bench serve</c> that need no download.</summary>
internal static class LoadRequests
{
    /// <summary>Prompts of random ids, lengths even over [1 - ratio, 1 + ratio] times the asked ones.</summary>
    public static LoadRequest[] Random(Random random, int count, int prefix, int input, int output, double ratio)
    {
        if (ratio is not (>= 0 and < 1))
            throw new ArgumentException("--random-range-ratio must be at least 0 and below 1.");
        int[] shared = Ids(random, prefix);
        int Length(int around) => Math.Max(1, random.Next((int)(around * (1 - ratio)), (int)(around * (1 + ratio)) + 1));
        return [.. Enumerable.Range(0, count).Select(_ => new LoadRequest([.. shared, .. Ids(random, Length(input))], null, Length(output)))];
    }

    /// <summary>A few prefixes, each shared by the same number of requests.</summary>
    public static LoadRequest[] PrefixRepetition(Random random, int count, int prefixes, int prefix, int suffix, int output)
    {
        if (prefixes < 1 || prefixes > count)
            throw new ArgumentException("--prefix-repetition-num-prefixes must be at least 1 and at most --num-prompts.");
        int[][] shared = [.. Enumerable.Range(0, prefixes).Select(_ => Ids(random, prefix))];
        LoadRequest[] requests = [.. Enumerable.Range(0, count).Select(i => new LoadRequest([.. shared[i * (long)prefixes / count], .. Ids(random, suffix)], null, output))];
        random.Shuffle(requests);
        return requests;
    }

    /// <summary>JSON lines with a <c>prompt</c> each, and perhaps <c>output_tokens</c>.</summary>
    public static LoadRequest[] Custom(string path, int count, int output)
    {
        List<LoadRequest> requests = [];
        int number = 0;
        foreach (string line in File.ReadLines(path))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line))
                continue;
            JsonNode? item = Parse(line, $"{path}, line {number}");
            if (item is not JsonObject || item["prompt"] is not JsonValue prompt || !prompt.TryGetValue(out string? text))
                throw new ArgumentException($"{path}, line {number}: an object with a text 'prompt' is expected.");
            requests.Add(new LoadRequest(null, text, item["output_tokens"] is JsonValue length && length.TryGetValue(out int tokens) && tokens > 0 ? tokens : output));
        }
        return Repeat(requests, count, path);
    }

    /// <summary>ShareGPT's file: the first turn of each conversation is the prompt.</summary>
    public static LoadRequest[] ShareGpt(Random random, string path, int count, int output)
    {
        if (Parse(File.ReadAllText(path), path) is not JsonArray conversations)
            throw new ArgumentException($"{path}: a list of conversations is expected.");
        LoadRequest[] requests = [.. conversations
            .Select(item => (item as JsonObject)?["conversations"] as JsonArray)
            .Where(turns => turns is { Count: >= 2 })
            .Select(turns => (turns![0] as JsonObject)?["value"] as JsonValue)
            .Select(value => value is not null && value.TryGetValue(out string? text) ? text : "")
            .Where(text => text.Length > 0)
            .Select(text => new LoadRequest(null, text, output))];
        random.Shuffle(requests);
        return Repeat(requests, count, path);
    }

    /// <summary>Ids of single bytes and short pieces, which every byte-level vocabulary has.</summary>
    private static int[] Ids(Random random, int length) => [.. Enumerable.Range(0, length).Select(_ => random.Next(1, 256))];

    private static LoadRequest[] Repeat(IReadOnlyList<LoadRequest> requests, int count, string path) =>
        requests.Count == 0 ? throw new ArgumentException($"{path} holds no prompt.")
        : [.. Enumerable.Range(0, count).Select(i => requests[i % requests.Count])];

    private static JsonNode? Parse(string json, string place)
    {
        try
        {
            return JsonNode.Parse(json);
        }
        catch (JsonException failure)
        {
            throw new ArgumentException($"{place}: {failure.Message}");
        }
    }
}
