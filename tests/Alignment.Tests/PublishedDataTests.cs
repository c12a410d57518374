using System.IO.Compression;
using XDeepServe.Alignment.Data;

namespace XDeepServe.Alignment.Tests;

public sealed class PublishedDataTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("xds-published").FullName;

    private static string? Shared()
    {
        for (DirectoryInfo? place = new(AppContext.BaseDirectory); place is not null; place = place.Parent)
            if (Path.Combine(place.FullName, "shared", "data") is { } data && Directory.Exists(data))
                return data;
        return null;
    }

    [Fact]
    public void Alpaca_pairs_are_two_generators_of_one_prompt_ordered_by_their_labels()
    {
        Write("prompts", [.. Enumerable.Range(19, 3).Select(id => $$"""{"id":{{id}},"dataset":"{{(id == 21 ? "vicuna" : "koala")}}","prompt":"p{{id}}"}""")]);
        Write("judgments", [.. from id in Enumerable.Range(19, 3) from g in Enumerable.Range(0, 4) select $$"""{"prompt":{{id}},"a":"gpt4_1106_preview","b":"g{{g}}","p_b":{{g / 10.0}}}"""]);
        Write("responses", [.. from id in Enumerable.Range(19, 3) from g in (string[])["g3", "g2", "g1", "g0", "unjudged", "gpt4_1106_preview"] select $$"""{"prompt":{{id}},"generator":"{{g}}","text":"{{id}} {{g}}"}"""]);
        AlpacaEval set = AlpacaEval.Open(folder);
        IReadOnlyList<PreferencePair> test = set.Pairs(AlpacaSplit.Test, perPrompt: 10, leastMargin: 0.15, seed: 1);
        Assert.Equal(3, test.Count); // g0-g2, g0-g3, g1-g3
        Assert.All(test, pair => Assert.True(pair.Prompt[0].Content == "p20" && string.CompareOrdinal(pair.Chosen, pair.Rejected) > 0 && pair.Margin >= 0.15 && pair.Cluster == "20"));
        Assert.Equal(["p19"], set.Pairs(AlpacaSplit.Train, 10, 0.01, 1).Select(pair => pair.Prompt[0].Content).Distinct());
        Assert.Equal(["p21"], set.Pairs(AlpacaSplit.Validation, 10, 0.01, 1).Select(pair => pair.Prompt[0].Content).Distinct());
        Assert.Equal(2, set.Pairs(AlpacaSplit.Train, 2, 0.01, 1).Count);
        IReadOnlyList<PreferencePair> reference = set.ReferencePairs(AlpacaSplit.Test, 10, 0.01, 1);
        Assert.Equal(4, reference.Count);
        Assert.All(reference, pair => Assert.Equal(("20 gpt4_1106_preview", "reference wins"), (pair.Chosen, pair.Subset)));
        Assert.Equal(2, Evaluation.Benchmark.Read("alpaca-eval", folder).Pairs.Count); // of the three, 0.3 and 0.1 are nearer than 0.2 in floating point
        Assert.Equal("alpaca-reference", Evaluation.Benchmark.Read("alpaca-reference", folder).Name);
        Assert.Equal(["20 g3", "20 g2", "20 g1", "20 g0"], Assert.Single(set.Rankings(AlpacaSplit.Test)).Responses);
        Assert.Equal(6, Assert.Single(set.Unlabelled(AlpacaSplit.Test)).Responses.Count);
    }

    [Fact]
    public void Panda_votes_make_label_and_margin()
    {
        string path = Path.Combine(folder, "panda.jsonl");
        File.WriteAllLines(path,
        [
            """{"instruction":"i","input":"x","response1":"a","response2":"b","votes":[1,1,2]}""",
            """{"instruction":"i","input":"","response1":"a","response2":"b","votes":[2,2,0]}""",
            """{"instruction":"i","input":"","response1":"a","response2":"b","votes":[0,1,2]}""",
            """{"instruction":"i","input":"","response1":"a","response2":"a","votes":[1,1,1]}""",
        ]);
        DataCounts counts = new();
        PreferencePair[] pairs = [.. PandaLm.Pairs(path, counts)];
        Assert.Equal([("i\nx", "a", 1 / 3.0), ("i", "b", 2 / 3.0)], pairs.Select(pair => (pair.Prompt[0].Content, pair.Chosen, pair.Margin!.Value)));
        Assert.Equal("4 read, 2 kept, dropped: 1 equal answers, 1 ties", counts.ToString());
        File.WriteAllText(path, """{"instruction":"i","input":"","response1":"a","response2":"b","votes":[3]}""");
        Assert.Throws<DataException>(() => PandaLm.Pairs(path, new DataCounts()).Count());
    }

    [Fact]
    public void A_balanced_subset_has_as_many_longer_as_shorter_answers()
    {
        PreferencePair[] pairs = [.. Enumerable.Range(0, 30).Select(index => new PreferencePair { Prompt = [], Chosen = new string('a', index % 3 == 0 ? 1 : 5), Rejected = "bbb", Subset = index < 15 ? "x" : "y" })];
        IReadOnlyList<PreferencePair> balanced = LengthBalance.Of(pairs, pair => pair);
        Assert.Equal((20, 10), (balanced.Count, balanced.Count(pair => pair.Chosen.Length > 3)));
        Assert.Equal(10, balanced.Count(pair => pair.Subset == "x"));
    }

    [Fact]
    public void The_published_files_are_read()
    {
        string? data = Shared();
        Assert.SkipWhen(data is null, "The published data is not here.");
        DataCounts panda = new(), harmless = new();
        int votes = PandaLm.Pairs(Path.Combine(data, "pandalm.jsonl.gz"), panda).Count();
        int replies = PreferenceData.Pairs(Path.Combine(data, "hh_harmless_test.jsonl.gz"), harmless).Count();
        Assert.Equal((999, 2303), (panda.Read, harmless.Read));
        Assert.True(votes > 800 && replies > 2200, $"{panda}; {harmless}");
        IReadOnlyList<PreferencePair> test = AlpacaEval.Open(data).Pairs(AlpacaSplit.Test, perPrompt: 5, leastMargin: 0.2, seed: 0);
        Assert.InRange(test.Select(pair => pair.Cluster).Distinct().Count(), 30, 41); // ids 0, 20, .. 800, of which some are not judged
        Assert.All(test, pair => Assert.True(int.Parse(pair.Cluster, System.Globalization.CultureInfo.InvariantCulture) % 20 == 0));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private void Write(string name, string[] lines)
    {
        using GZipStream zipped = new(File.Create(Path.Combine(folder, $"alpaca_eval.{name}.jsonl.gz")), CompressionLevel.Fastest);
        using StreamWriter text = new(zipped);
        foreach (string line in lines)
            text.WriteLine(line);
    }
}
