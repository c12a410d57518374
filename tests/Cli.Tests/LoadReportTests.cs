using System.Text.Json.Nodes;
using XDeepServe.Cli.Bench;

namespace XDeepServe.Cli.Tests;

/// <summary>The figures of <c>xds bench serve</c>, from requests whose times are known.</summary>
public sealed class LoadReportTests
{
    private static readonly LoadResult[] Results =
    [
        new(0, 10, [0.1, 0.2, 0.3], 3, 0.3, null),
        new(0, 20, [0.4, 0.5], 2, 0.5, null),
        new(0, 30, [], 0, 1, "refused"),
    ];

    [Fact]
    public void Figures_are_printed_and_saved_under_the_names_of_vllm()
    {
        LoadReport report = Report(new Goodput(["ttft:200", "e2el:400"]));
        using StringWriter text = new();
        report.Print(text);
        string printed = text.ToString();
        Assert.Matches(@"Successful requests:\s+2\s", printed);
        Assert.Matches(@"Failed requests:\s+1\s", printed);
        Assert.Matches(@"Request goodput \(req/s\):\s+0\.50\s", printed);
        Assert.Matches(@"Mean TTFT \(ms\):\s+250\.00\s", printed);
        JsonNode json = JsonNode.Parse(report.Json("openai", "m", null, 1, "night", [("gpu", "none")], detailed: true))!;
        Assert.Equal((2, 1, 30, 5), ((int)json["completed"]!, (int)json["failed"]!, (int)json["total_input_tokens"]!, (int)json["total_output_tokens"]!));
        Assert.Equal((0.5, 1.0), ((double)json["request_goodput"]!, (double)json["burstiness"]!));
        Assert.Equal(("night", "none"), ((string)json["label"]!, (string)json["gpu"]!));
        Assert.Equal(100, (double)json["mean_tpot_ms"]!, 6);
        Assert.Equal([10, 20, 30], json["input_lens"]!.AsArray().Select(length => (int)length!));
        Assert.Equal(2, json["itls"]![0]!.AsArray().Count);
        Assert.Equal(["", "", "refused"], json["errors"]!.AsArray().Select(error => (string)error!));
    }

    [Fact]
    public void Without_limits_there_is_no_goodput()
    {
        LoadReport report = Report(new Goodput([]));
        using StringWriter text = new();
        report.Print(text);
        Assert.DoesNotContain("goodput", text.ToString(), StringComparison.Ordinal);
        JsonNode json = JsonNode.Parse(report.Json("openai", "m", null, 1, null, [], detailed: false))!;
        Assert.Null(json["request_goodput"]);
        Assert.Null(json["errors"]);
    }

    [Theory]
    [InlineData("ttft")]
    [InlineData("speed:5")]
    [InlineData("ttft:fast")]
    public void Limits_are_checked(string limit) =>
        Assert.Contains(limit, Assert.Throws<ArgumentException>(() => new Goodput([limit])).Message, StringComparison.Ordinal);

    private static LoadReport Report(Goodput goodput) => new(Results, 2, double.PositiveInfinity, null, [99], ["ttft", "tpot", "itl", "e2el"], goodput);
}
