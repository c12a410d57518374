using System.CommandLine;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Rewards;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds represent</c>: features of preference pairs, for <c>xds select</c> and <c>xds margin</c>.</summary>
internal sealed class RepresentCommand : Command
{
    private readonly Argument<string> file = new("pairs") { Description = "Preference pairs: JSON lines, an array or Parquet, in any form that trainers know." };
    private readonly Option<string> output = new("--out") { Description = "The feature file to write; one row for each pair.", Required = true };
    private readonly Option<string?> kept = new("--kept") { Description = "Write the pairs that have a row, as they are and in their order, as JSON lines. Without it, pairs that have none are an error." };
    private readonly Option<string> feature = EngineFlags.Choice(
        "--feature", "'preference' (LRHP: the hidden state of the token that ends the pair), 'embedding' (a baseline: the mean hidden state over the text) or 'reward' (a baseline: the difference of a reward model's scores).",
        "preference", "preference", "embedding", "reward");
    private readonly RewardFlags reward;

    public RepresentCommand() : base("represent", "Writes a feature of each preference pair with a model.")
    {
        Arguments.Add(file);
        foreach (Option option in new Option[] { output, kept, feature })
            Options.Add(option);
        reward = new RewardFlags(this);
        SetAction((result, cancel) => RunAsync(result));
    }

    private Task<int> RunAsync(ParseResult result)
    {
        PairFeature wanted = Enum.Parse<PairFeature>(result.GetValue(feature)!, ignoreCase: true);
        string path = result.GetValue(file)!;
        DataCounts counts = new();
        List<(Row Row, PreferencePair Pair)> pairs = [.. PreferenceData.PairsInRows(path, counts)];
        if (pairs.Count == 0)
            throw new DataException($"{path} holds no pair ({counts}).");
        RequireWhole(result, path, counts);
        return reward.UseAsync(result, async (model, reader, tokenizer, cancel) =>
        {
            if (reader is null && wanted != PairFeature.Reward)
                throw new ArgumentException("--reward length and --server have no model here to read from; they go with --feature reward.");
            IReadOnlyList<float[]?> read = await new PairFeatures(reader!, tokenizer!, model).ReadAllAsync([.. pairs.Select(item => item.Pair)], wanted, cancel: cancel);
            for (int skipped = read.Count(row => row is null); skipped > 0; skipped--)
                counts.Drop("too long");
            RequireWhole(result, path, counts);
            Write(result.GetValue(output)!, read, wanted);
            if (result.GetValue(kept) is { } list)
                await File.WriteAllLinesAsync(list, pairs.Where((_, index) => read[index] is not null).Select(item => item.Row.ToJson(path, list)), CancellationToken.None);
            Console.WriteLine(counts);
            return 0;
        });
    }

    private void RequireWhole(ParseResult result, string path, DataCounts counts)
    {
        if (counts.Dropped.Count > 0 && result.GetValue(kept) is null)
            throw new DataException($"{path}: not every pair can have a row ({counts}). Name a file for the others with --kept and go on with that.");
    }

    private static void Write(string path, IReadOnlyList<float[]?> rows, PairFeature feature)
    {
        float[][] whole = [.. rows.OfType<float[]>()];
        if (whole.Length == 0)
            throw new DataException("No pair fits the model.");
        // The seed names what the features are of, so that two kinds are not compared.
        using FeatureWriter writer = new(path, whole[0].Length, seed: 0x4C525048_00000000UL + (ulong)feature);
        foreach (float[] row in whole)
            writer.Append(row);
        writer.Complete();
    }
}
