using System.Text.Json;
using XDeepServe.Alignment.Selection;

namespace XDeepServe.Cli.Tests;

public sealed class SelectCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("select").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task The_pairs_whose_gradients_are_like_the_targets_are_written_best_first()
    {
        Write("candidates", [[1, 0], [0, 1], [0.9f, 0.1f], [-1, 0]]);
        Write("targets", [[1, 0.05f], [1, -0.05f]]);
        await File.WriteAllLinesAsync(At("pairs"), Enumerable.Range(0, 4).Select(row => $$"""{"prompt":"{{row}}","chosen":"a","rejected":"b"}"""), TestContext.Current.CancellationToken);
        foreach (string method in (string[])["ot", "distance", "less", "pds", "pds-centroid", "pds-max"])
        {
            (int code, string output, string errors) = await CommandTests.Run("select", "--method", method, "--candidates", At("candidates"), "--targets", At("targets"),
                "--keep", "2", "--pairs", At("pairs"), "--out", At("selected"), "--report", At("report"), "--scores", At("scores"), "--plot", At("plot.svg"));
            Assert.True(code == 0, errors);
            Assert.Contains("kept 2 of 4", output, StringComparison.Ordinal);
            Assert.Equal(["0", "2"], File.ReadLines(At("selected")).Select(line => JsonElement.Parse(line).GetProperty("prompt").GetString()));
            Assert.Equal([0, 2], JsonElement.Parse(await File.ReadAllTextAsync(At("report"), TestContext.Current.CancellationToken)).GetProperty("kept").EnumerateArray().Select(row => row.GetInt32()));
            Assert.Equal(5, File.ReadLines(At("scores")).Count());
            Assert.Equal(method == "ot", System.Xml.Linq.XDocument.Load(At("plot.svg")).Descendants().Any(element => element.Name.LocalName == "circle"));
        }
    }

    [Fact]
    public async Task Pairs_that_are_not_the_features_are_refused()
    {
        Write("candidates", [[1, 0], [0, 1]]);
        await File.WriteAllTextAsync(At("pairs"), """{"prompt":"0"}""", TestContext.Current.CancellationToken);
        (int code, string _, string errors) = await CommandTests.Run("select", "--candidates", At("candidates"), "--targets", At("candidates"), "--keep", "1", "--pairs", At("pairs"), "--out", At("selected"));
        Assert.Equal(1, code);
        Assert.Contains("1 pairs, but its features have 2 rows", errors, StringComparison.Ordinal);
        Assert.False(File.Exists(At("selected")));
    }

    [Theory]
    [InlineData("--keep", "0", "--keep must be at least 1")]
    [InlineData("--regularisation", "0", "--regularisation and --tolerance must be greater than 0")]
    [InlineData("--regularisation", "NaN", "--regularisation and --tolerance must be greater than 0")]
    [InlineData("--regularisation", "Infinity", "--regularisation and --tolerance must be greater than 0")]
    [InlineData("--tolerance", "-1", "--regularisation and --tolerance must be greater than 0")]
    [InlineData("--passes", "0", "--passes must be at least 1")]
    [InlineData("--memory", "-1", "--memory and --threads not negative")]
    [InlineData("--threads", "-1", "--memory and --threads not negative")]
    [InlineData("--method", "transport", "Must be one of")]
    public async Task Settings_that_cannot_be_are_refused_in_their_own_words(string option, string value, string word)
    {
        Write("candidates", [[1, 0], [0, 1]]);
        (int code, string _, string errors) = await CommandTests.Run(["select", "--candidates", At("candidates"), "--targets", At("candidates"), .. option == "--keep" ? (string[])[] : ["--keep", "1"], option, value]);
        Assert.Equal(1, code);
        Assert.Contains(word, errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Features_that_are_not_finite_are_refused_and_a_plan_that_is_none_is_called_so()
    {
        Write("candidates", [[1, 0], [0, 1], [0.6f, 0.8f]]);
        Write("targets", [[1, 0], [0, 1]]);
        byte[] damaged = await File.ReadAllBytesAsync(At("targets"), TestContext.Current.CancellationToken);
        BitConverter.TryWriteBytes(damaged.AsSpan(^4), float.NaN); // which no writer of ours lets through
        await File.WriteAllBytesAsync(At("targets"), damaged, TestContext.Current.CancellationToken);
        foreach (string method in (string[])["ot", "distance", "less", "pds-max"])
        {
            (int code, string _, string errors) = await CommandTests.Run("select", "--method", method, "--candidates", At("candidates"), "--targets", At("targets"), "--keep", "1", "--report", At("report"));
            Assert.Equal((1, false), (code, File.Exists(At("report"))));
            Assert.Contains("NaN", errors, StringComparison.Ordinal);
        }
        Write("targets", [[1, 0], [0, -1]]);
        Assert.Contains("no plan between these sets", (await CommandTests.Run("select", "--candidates", At("candidates"), "--targets", At("targets"), "--keep", "1", "--passes", "2", "--regularisation", "0.001")).Output, StringComparison.Ordinal);
        Assert.DoesNotContain("no plan", (await CommandTests.Run("select", "--candidates", At("candidates"), "--targets", At("targets"), "--keep", "1")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_nothing_can_be_learnt_from_is_said_in_words()
    {
        Write("features", [.. Enumerable.Range(0, 24).Select(row => (float[])[row, 1])]);
        await File.WriteAllLinesAsync(At("alike.jsonl"), Enumerable.Range(0, 24).Select(row => $$"""{"prompt":"{{row}}","chosen":"a","rejected":"b","margin":1.5}"""), TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(At("empty.jsonl"), "\n", TestContext.Current.CancellationToken);
        foreach ((string word, string[] arguments) in new (string, string[])[]
        {
            ("every margin is 1.5; there is nothing to foretell", ["margin", "--features", At("features"), "--pairs", At("alike.jsonl")]),
            ("give at least two", ["project", At("features"), "--limit", "1"]),
            ("--limit must not be negative", ["eval", "pairs", At("alike.jsonl"), "--reward", "length", "--limit", "-1"]),
            ("empty.jsonl holds no question", ["score", "--reward", "length", "--input", At("empty.jsonl")]),
        })
        {
            (int code, string _, string errors) = await CommandTests.Run(arguments);
            Assert.Equal(1, code);
            Assert.Contains(word, errors, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Pairs_are_represented_selected_and_given_margins()
    {
        string[] lines = [.. Enumerable.Range(0, 24).Select(row => $$"""{"prompt":"What is {{row}} and one?","chosen":"{{row + 1}}","rejected":"{{(row % 2 == 0 ? "A potato." : "I will not say.")}}","margin":{{row % 2}}}""")];
        await File.WriteAllLinesAsync(At("pairs.jsonl"), lines.Append("""{"prompt":"q","chosen":"a","rejected":"a"}"""), TestContext.Current.CancellationToken);
        (int code, string output, string errors) = await CommandTests.Run("represent", At("pairs.jsonl"), "--out", At("pairs.features"));
        Assert.Equal(1, code);
        Assert.Contains("25 read, 24 kept, dropped: 1 equal answers", errors, StringComparison.Ordinal);
        (code, output, errors) = await CommandTests.Run("represent", At("pairs.jsonl"), "--out", At("pairs.features"), "--kept", At("kept.jsonl"));
        Assert.True(code == 0, errors);
        Assert.Equal(24, File.ReadLines(At("kept.jsonl")).Count());
        (code, output, errors) = await CommandTests.Run("select", "--method", "pds", "--candidates", At("pairs.features"), "--targets", At("pairs.features"), "--keep", "3", "--pairs", At("kept.jsonl"), "--out", At("selected.jsonl"));
        Assert.True(code == 0, errors);
        Assert.Equal(3, File.ReadLines(At("selected.jsonl")).Count());
        (code, output, errors) = await CommandTests.Run("project", At("pairs.features"), "--plot", At("pairs.svg"), "--out", At("pairs.csv"));
        Assert.True(code == 0, errors);
        Assert.Contains("24 features", output, StringComparison.Ordinal);
        Assert.Equal((24, 25), (System.Xml.Linq.XDocument.Load(At("pairs.svg")).Descendants().Count(element => element.Name.LocalName == "circle"), File.ReadLines(At("pairs.csv")).Count()));
        (code, output, errors) = await CommandTests.Run("margin", "--features", At("pairs.features"), "--pairs", At("kept.jsonl"), "--out", At("margin.json"), "--json");
        Assert.True(code == 0, errors);
        Assert.InRange(JsonElement.Parse(output).GetProperty("pearson").GetDouble(), 0.8, 1); // which of two sentences it is shows in any hidden state
        (code, output, errors) = await CommandTests.Run("margin", "--features", At("pairs.features"), "--pairs", At("kept.jsonl"), "--predictor", At("margin.json"), "--out", At("margins.jsonl"));
        Assert.True(code == 0, errors);
        Assert.All(File.ReadLines(At("margins.jsonl")).Select((line, row) => (JsonElement.Parse(line).GetProperty("margin").GetDouble(), row)), pair => Assert.Equal(pair.row % 2, pair.Item1, 0.4));
    }

    private string At(string name) => Path.Combine(folder, name);

    private void Write(string name, float[][] rows)
    {
        using FeatureWriter writer = new(At(name), rows[0].Length, seed: 0);
        foreach (float[] row in rows)
            writer.Append(row);
        writer.Complete();
    }
}
