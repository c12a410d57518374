using System.Text.Json;
using XDeepServe.Cli.Reward;

namespace XDeepServe.Cli.Tests;

public sealed class ScoreCommandTests
{
    private static readonly string[] s_question = ["score", "--json", "--prompt", "Name a colour of the sky."];

    [Fact]
    public void A_limit_spreads_over_the_whole_file()
    {
        Assert.Equal([0, 3, 6], EvalCommand.Limited([.. Enumerable.Range(0, 10)], 3));
        Assert.Equal([0, 1], EvalCommand.Limited([0, 1], 0));
        Assert.Equal([0, 1], EvalCommand.Limited([0, 1], 5));
    }

    [Fact]
    public async Task An_answer_alone_is_compared_with_a_reference()
    {
        double[] pair = await Score("--response", "Blue.", "--response", "A potato."), alone = await Score("--reference", "A potato.", "--response", "Blue.");
        Assert.Equal(pair[0], Assert.Single(alone), 6);
        Assert.NotEqual(0.5, alone[0], 3);
    }

    [Fact]
    public async Task A_judge_refuses_an_answer_alone()
    {
        (int code, string output, string errors) = await CommandTests.Run([.. s_question, "--response", "Blue."]);
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.Contains("cannot score one alone", errors, StringComparison.Ordinal);
    }

    private static async Task<double[]> Score(params string[] answers)
    {
        (int code, string output, string errors) = await CommandTests.Run([.. s_question, .. answers]);
        Assert.True(code == 0, errors);
        return [.. JsonElement.Parse(output).EnumerateArray().Select(item => item.GetProperty("score").GetDouble())];
    }
}
