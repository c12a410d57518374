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
        foreach (string method in (string[])["ot", "distance", "less"])
        {
            (int code, string output, string errors) = await CommandTests.Run("select", "--method", method, "--candidates", At("candidates"), "--targets", At("targets"),
                "--keep", "2", "--pairs", At("pairs"), "--out", At("selected"), "--report", At("report"), "--scores", At("scores"));
            Assert.True(code == 0, errors);
            Assert.Contains("kept 2 of 4", output, StringComparison.Ordinal);
            Assert.Equal(["0", "2"], File.ReadLines(At("selected")).Select(line => JsonElement.Parse(line).GetProperty("prompt").GetString()));
            Assert.Equal([0, 2], JsonElement.Parse(await File.ReadAllTextAsync(At("report"), TestContext.Current.CancellationToken)).GetProperty("kept").EnumerateArray().Select(row => row.GetInt32()));
            Assert.Equal(5, File.ReadLines(At("scores")).Count());
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

    private string At(string name) => Path.Combine(folder, name);

    private void Write(string name, float[][] rows)
    {
        using FeatureWriter writer = new(At(name), rows[0].Length, seed: 0);
        foreach (float[] row in rows)
            writer.Append(row);
    }
}
