using System.Text.Json;
using System.Text.Json.Nodes;

namespace XDeepServe.Models.Tests;

/// <summary>One prompt of a golden.json and what the reference made of it.</summary>
internal sealed record GoldenCase(int[] Prompt, int[] Greedy, float[] Margins, int[] LogitIds, float[] Logits, double LogProbability)
{
    /// <summary>The image of a folder's cases <c>[3, size, size]</c>, at position 1 of every prompt; null for text alone.</summary>
    public float[]? Pixels { get; init; }

    /// <summary>Two tokens whose logits are closer than this may change places.</summary>
    public const float NearTie = 1e-3f;

    /// <summary>Reads the cases of a folder's golden.json, in the shape of the tiny models or of nano-moe.</summary>
    public static GoldenCase[] Read(string folder)
    {
        JsonNode root = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")))!;
        if (root["cases"] is JsonArray cases)
        {
            float[]? pixels = cases[0]!["pixel_values"] is { } values ? Values<float>(values) : null;
            return [.. cases.Select(item => new GoldenCase(
                Values<int>(item!["prompt"]!), Values<int>(item["greedy"]!), Values<float>(item["greedy_margins"]!),
                [.. Enumerable.Range(0, item["last_logits"]!.AsArray().Count)], Values<float>(item["last_logits"]!),
                item["logprob_sum"]!.GetValue<double>())
            {
                Pixels = pixels,
            })];
        }
        return [.. root["prompts"]!.AsArray().Select(item => new GoldenCase(
            Values<int>(item!["ids"]!), Values<int>(item["greedy48"]!), Values<float>(item["greedy48_margins"]!),
            Values<int>(item["last_top20_ids"]!), Values<float>(item["last_top20_logits"]!),
            item["prompt_logprob_sum"]!.GetValue<double>()))];
    }

    /// <summary>What another model makes of a prompt, as a case for this one.</summary>
    /// <param name="runner">Drives the other.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="tokens">Length of the answer.</param>
    public static GoldenCase Of(Runner runner, int[] prompt, int tokens)
    {
        int[] greedy = runner.Greedy(new Sequence(prompt), tokens);
        float[][] rows = runner.Prefill(new Sequence([.. prompt, .. greedy]));
        float[][] sorted = [.. rows[(prompt.Length - 1)..^1].Select(row => row.OrderDescending().Take(2).ToArray())];
        float[] last = rows[prompt.Length - 1];
        return new GoldenCase(
            prompt, greedy, [.. sorted.Select(best => best[0] - best[1])], [.. Enumerable.Range(0, last.Length)], last,
            Enumerable.Range(1, prompt.Length - 1).Sum(i => LogSoftmax(rows[i - 1], prompt[i])));
    }

    /// <summary>Checks prefill and greedy decoding of a model against this case.</summary>
    /// <param name="runner">Drives the model.</param>
    /// <param name="chunk">Most prompt tokens in a step.</param>
    /// <param name="images">The prompt's images.</param>
    public void Check(Runner runner, int chunk = int.MaxValue, params IReadOnlyList<EmbeddedRows> images)
    {
        float[][] rows = runner.Prefill(new Sequence(Prompt) { Images = images }, chunk);
        float range = rows[^1].Max() - rows[^1].Min();
        for (int i = 0; i < LogitIds.Length; i++)
            Assert.True(MathF.Abs(rows[^1][LogitIds[i]] - Logits[i]) <= 2e-3f * range, $"logit {LogitIds[i]}: {rows[^1][LogitIds[i]]}, reference {Logits[i]}");

        double sum = 0;
        for (int i = 1; i < Prompt.Length; i++)
            sum += LogSoftmax(rows[i - 1], Prompt[i]);
        Assert.True(Math.Abs(sum - LogProbability) <= 1e-3 * Math.Abs(LogProbability), $"log-probability {sum}, reference {LogProbability}");

        CheckGreedy(runner.Greedy(new Sequence(Prompt) { Images = images }, Greedy.Length, chunk));
    }

    /// <summary>Tokens must equal the reference up to the first near tie that falls the other way.</summary>
    public void CheckGreedy(int[] tokens)
    {
        for (int i = 0; i < Greedy.Length; i++)
        {
            if (tokens[i] == Greedy[i])
                continue;
            Assert.True(Margins[i] < NearTie, $"token {i} is {tokens[i]}, reference {Greedy[i]} with margin {Margins[i]}");
            return;
        }
    }

    private static double LogSoftmax(float[] logits, int id)
    {
        double most = logits.Max();
        return logits[id] - most - Math.Log(logits.Sum(value => Math.Exp(value - most)));
    }

    private static T[] Values<T>(JsonNode list) => list.Deserialize<T[]>()!;
}
