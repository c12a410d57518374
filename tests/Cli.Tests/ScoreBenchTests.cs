using System.Globalization;

namespace XDeepServe.Cli.Tests;

public sealed class ScoreBenchTests
{
    [Fact]
    public async Task Answers_that_meet_several_others_share_more_of_their_prompts()
    {
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, """{"prompt":"Name a colour of the sky, please, and say when it has it.","responses":["Blue, at noon.","Grey, when it rains.","Red, at dusk and dawn.","A potato."]}""", TestContext.Current.CancellationToken);
        double two = await CachedShare(file, "2"), four = await CachedShare(file, "4");
        Assert.True(two < four && four > 0.3, $"{two} {four}");
        (int code, string _, string errors) = await CommandTests.Run("bench", "score", "--input", file, "--responses", "9");
        Assert.Equal(1, code);
        Assert.Contains("holds no prompt with 9 responses", errors, StringComparison.Ordinal);
        File.Delete(file);
    }

    private static async Task<double> CachedShare(string file, string responses)
    {
        (int code, string output, string errors) = await CommandTests.Run("bench", "score", "--input", file, "--responses", responses, "--num-iters", "1", "--batch-size", "1");
        Assert.True(code == 0, errors);
        string[] cells = output.TrimEnd().Split('\n')[^1].Split('|', StringSplitOptions.TrimEntries);
        Assert.True(double.Parse(cells[7], CultureInfo.InvariantCulture) < 1e-2, output); // sharing does not change the verdict
        return double.Parse(cells[6].Split(' ')[0], CultureInfo.InvariantCulture) / 100;
    }
}
