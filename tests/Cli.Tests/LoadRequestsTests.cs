using XDeepServe.Cli.Bench;
using Xunit;

namespace XDeepServe.Cli.Tests;

/// <summary>The data sets and arrival times of <c>xds bench serve</c>.</summary>
public sealed class LoadRequestsTests : IDisposable
{
    private readonly string file = Path.GetTempFileName();

    public void Dispose() => File.Delete(file);

    [Fact]
    public void Random_lengths_keep_to_their_range()
    {
        LoadRequest[] requests = LoadRequests.Random(new Random(1), 200, prefix: 5, input: 40, output: 20, ratio: 0.5);
        Assert.All(requests, request => Assert.InRange(request.Ids!.Length, 25, 65));
        Assert.All(requests, request => Assert.InRange(request.OutputLength, 10, 30));
        Assert.Single(requests.Select(request => string.Join(' ', request.Ids!.Take(5))).Distinct());
        Assert.Equal(requests.Select(request => request.Message), LoadRequests.Random(new Random(1), 200, 5, 40, 20, 0.5).Select(request => request.Message));
    }

    [Fact]
    public void Repeated_prefixes_are_shared_evenly()
    {
        LoadRequest[] requests = LoadRequests.PrefixRepetition(new Random(2), count: 30, prefixes: 3, prefix: 16, suffix: 4, output: 8);
        Assert.Equal([10, 10, 10], requests.GroupBy(request => string.Join(' ', request.Ids!.Take(16))).Select(group => group.Count()));
    }

    [Fact]
    public void Custom_prompts_may_bring_their_own_length()
    {
        File.WriteAllText(file, """
            {"prompt":"one","output_tokens":7}

            {"prompt":"two"}
            """);
        LoadRequest[] requests = LoadRequests.Custom(file, 3, 99);
        Assert.Equal([("one", 7), ("two", 99), ("one", 7)], requests.Select(request => (request.Text!, request.OutputLength)));
    }

    [Theory]
    [InlineData("{\"prompt\":3}", "line 1")]
    [InlineData("{\"prompt\":\"a\"}\n{", "line 2")]
    [InlineData("[]", "line 1")]
    [InlineData("", "holds no prompt")]
    public void Bad_custom_files_are_told_by_line(string content, string expected)
    {
        File.WriteAllText(file, content);
        Assert.Contains(expected, Assert.Throws<ArgumentException>(() => LoadRequests.Custom(file, 1, 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ShareGpt_gives_the_first_turns()
    {
        File.WriteAllText(file, """[{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello"}]},{"conversations":[{"value":"alone"}]},{"id":1}]""");
        LoadRequest request = Assert.Single(LoadRequests.ShareGpt(new Random(3), file, 1, 12));
        Assert.Equal(("Hi", 12), (request.Text, request.OutputLength));
    }

    [Theory]
    [InlineData(null, 0.0, 1 / 8.0)]
    [InlineData("linear", 0.5, 1 / 5.5)]
    [InlineData("exponential", 0.5, 0.31622776601683794)]
    public void Intervals_have_the_mean_of_their_rate(string? ramp, double progress, double expected)
    {
        Arrivals arrivals = new(new Random(4), 8, 1, ramp, 1, 10);
        double mean = Enumerable.Range(0, 20000).Average(_ => arrivals.Interval(progress));
        Assert.InRange(mean, 0.96 * expected, 1.04 * expected);
    }
}
