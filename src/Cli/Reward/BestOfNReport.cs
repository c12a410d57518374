using System.Globalization;
using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Ranking;
using XDeepServe.Alignment.Rewards;

namespace XDeepServe.Cli.Reward;

/// <summary>The table of <c>xds eval best-of-n</c>.</summary>
internal static class BestOfNReport
{
    private static readonly int[] Sizes = [1, 2, 4, 8, 16, 32];

    /// <summary>Ranked answers from a file, or, from AlpacaEval's folder, the judged ones to held-out prompts.</summary>
    public static IReadOnlyList<ResponseSet> Read(string path)
    {
        ResponseSet[] sets = [.. Directory.Exists(path) ? AlpacaEval.Open(path).Rankings(AlpacaSplit.Test, withTies: true) : PreferenceData.Rankings(path, new DataCounts())];
        return sets.Length > 0 ? sets : throw new DataException($"{path} holds no prompt with ranked answers.");
    }

    /// <summary>Picks from more and more answers, and prints a row for each number of them.</summary>
    public static async Task PrintAsync(IRewardModel model, Tournament tournament, IReadOnlyList<ResponseSet> sets, int draws, bool json, CancellationToken cancel)
    {
        if (!json)
            Console.WriteLine("| n | prompts | picked | 95 % interval | by lot | longest | best | too long |\n|---:|---:|---:|---|---:|---:|---:|---:|");
        int most = sets.Max(set => set.Responses.Count);
        foreach (int size in Sizes.Where(size => size <= most))
        {
            BestOfNResult found = await new BestOfNEvaluator(model, tournament).RunAsync(sets, size, draws, cancel);
            Console.WriteLine(json
                ? JsonSerializer.Serialize(new { n = found.Size, prompts = found.Prompts, picked = found.Picked.Mean, picked_interval = new[] { found.Picked.Low, found.Picked.High }, random = found.Random, longest = found.Longest, best = found.Best, too_long = found.TooLong })
                : string.Create(CultureInfo.InvariantCulture, $"| {found.Size} | {found.Prompts} | {found.Picked.Mean:F3} | {found.Picked.Low:F3} – {found.Picked.High:F3} | {found.Random:F3} | {found.Longest:F3} | {found.Best:F3} | {found.TooLong} |"));
        }
    }
}
