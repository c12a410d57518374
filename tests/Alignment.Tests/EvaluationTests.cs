using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Tests;

public sealed class EvaluationTests : IDisposable
{
    private readonly string file = Path.GetTempFileName();

    [Fact]
    public async Task Accuracies_consistency_and_baselines_are_those_of_the_pairs()
    {
        File.WriteAllLines(file,
        [
            """{"prompt":"a","chosen":"good long","rejected":"bad","subset":"x"}""",
            """{"prompt":"a","chosen":"good","rejected":"bad and long","subset":"x"}""",
            "",
            """{"prompt":[{"role":"user","content":"b"}],"chosen":[{"role":"assistant","content":"bad"}],"rejected":"good it is","subset":"y"}""",
        ]);
        Benchmark set = Benchmark.Read("pairs", file);
        Report report = Report.Of(set, await new Evaluator(new GoodIsBetter()).RunAsync(set.Pairs, cancel: TestContext.Current.CancellationToken));
        Assert.Equal((3, 0), (report.Pairs, report.TooLong));
        Assert.Equal(2 / 3.0, report.Micro.Mean, 9);
        Assert.Equal((0.5, 0.5, 0.5), (report.Macro.Mean, report.Macro.Low, report.Macro.High)); // x is right, y is wrong, whatever is drawn
        Assert.Equal(1 / 3.0, report.LengthOnly, 9);
        Assert.Equal(1, report.Consistency);
        Assert.Equal(1, report.LengthBalanced!.Value.Mean); // one pair of each kind, both of x
        Assert.True(report.Micro.Low <= report.Micro.Mean && report.Micro.Mean <= report.Micro.High);
        Assert.Equal([("x", 2, 1.0), ("y", 1, 0.0)], report.Subsets);
    }

    [Fact]
    public void Rm_bench_makes_nine_pairs_of_three_styles_and_sums_up_by_domain()
    {
        File.WriteAllText(file, """{"id":1,"prompt":"q","chosen":["c","cc","ccc"],"rejected":["r","rr","rrr"],"subset":"safety-refuse"}""");
        Benchmark set = Benchmark.Read("rm-bench", file);
        Assert.Equal(9, set.Pairs.Count);
        Assert.Equal(3, set.Pairs.Count(pair => pair.Subset == "safety/hard" && pair.Chosen.Length < pair.Rejected.Length));
        Assert.Equal(3, set.Pairs.Count(pair => pair.Subset == "safety/normal" && pair.Chosen.Length == pair.Rejected.Length));
        Assert.All(set.Pairs, pair => Assert.Equal("safety", set.Group(pair.Subset)));
    }

    [Fact]
    public void Reward_bench_weighs_mathematics_as_much_as_programming()
    {
        File.WriteAllLines(file,
        [
            """{"prompt":"m","chosen":"right","rejected":"wrong","subset":"math-prm"}""",
            .. new[] { "cpp", "go", "java", "js", "python", "rust" }.Select(name => $$"""{"prompt":"p","chosen":"wrong","rejected":"right","subset":"hep-{{name}}"}"""),
        ]);
        Benchmark set = Benchmark.Read("rewardbench", file);
        Report report = Report.Of(set, [.. set.Pairs.Select(pair => new Verdict(pair, pair.Chosen == "right" ? 0.9 : 0.1, Consistent: true))]);
        Assert.Equal([("Reasoning", 7, 0.5)], report.Groups);
        Assert.Equal(1 / 7.0, report.Micro.Mean, 9);
    }

    [Fact]
    public void The_macro_means_interval_is_that_of_clusters_drawn_within_their_groups()
    {
        // Two groups of one accuracy each: 80 and 20 prompts of which half are right.
        Verdict[] verdicts = [.. Enumerable.Range(0, 100).Select(index => new Verdict(
            new PreferencePair { Prompt = Message.Question("q"), Chosen = "a", Rejected = "b", Subset = index < 80 ? "large" : "small", Cluster = $"{index}" }, index % 2, Consistent: true))];
        Report report = Report.Of(new Benchmark { Name = "n", Pairs = [.. verdicts.Select(verdict => verdict.Pair)] }, verdicts);
        Assert.Equal((0.5, 0.5), (report.Micro.Mean, report.Macro.Mean));
        // The deviation of the micro mean is 0.5 / 10, of the macro mean 0.5 sqrt(1/80 + 1/20) / 2.
        Assert.Equal(2 * 1.96 * 0.05, report.Micro.High - report.Micro.Low, 0.03);
        Assert.Equal(2 * 1.96 * 0.0625, report.Macro.High - report.Macro.Low, 0.04);
        Assert.True(report.Macro.High - report.Macro.Low > report.Micro.High - report.Micro.Low);
    }

    [Fact]
    public void An_interval_over_clusters_is_wider_than_one_over_pairs()
    {
        Verdict[] together = [.. Enumerable.Range(0, 200).Select(index => Judged(index, $"prompt {index / 20}"))];
        Verdict[] apart = [.. Enumerable.Range(0, 200).Select(index => Judged(index, ""))];
        Score clustered = Score.Of(together, 2000), independent = Score.Of(apart, 2000);
        Assert.Equal(clustered.Mean, independent.Mean);
        Assert.True(clustered.High - clustered.Low > 2 * (independent.High - independent.Low));

        // All pairs of a prompt are right or all are wrong.
        static Verdict Judged(int index, string cluster) => new(Pair(cluster), index / 20 % 2, Consistent: true);
        static PreferencePair Pair(string cluster) => new() { Prompt = Message.Question("q"), Chosen = "a", Rejected = "b", Cluster = cluster };
    }

    [Theory]
    [InlineData("pairs", """{"prompt":"a","chosen":"b"}""", "line 1: 'rejected' is missing; the fields are prompt, chosen")]
    [InlineData("pairs", """{"prompt":1,"chosen":"b","rejected":"c"}""", "line 1: 'prompt' must be a string or a list of messages")]
    [InlineData("pairs", """{"prompt":"a","chosen":[{"role":"x"}],"rejected":"c"}""", "'chosen' must hold messages")]
    [InlineData("pairs", "[1]", "a JSON object is expected")]
    [InlineData("pairs", "{", "line 1: not JSON")]
    [InlineData("pairs", "", "holds no example")]
    [InlineData("hhh", "", "holds no example")]
    [InlineData("hhh", """{"prompt":"a","chosen":"b","rejected":"c","subset":"mmlu-pro-law"}""", "has no subset of hhh, but 'mmlu-pro-law'; a file of any pairs is judged as 'pairs'")]
    [InlineData("judgebench", """{"prompt":"a","chosen":"b","rejected":"c","subset":"honest"}""", "has no subset of judgebench, but 'honest'")]
    [InlineData("rewardbench", """{"prompt":"a","chosen":"b","rejected":"c","subset":"livebench-math"}""", "has no subset of rewardbench, but 'livebench-math'")]
    [InlineData("pandalm", """{"instruction":"i","votes":[1],"response1":"a"}""", "line 1: 'response2' is missing")]
    [InlineData("rm-bench", """{"prompt":"a","chosen":["b"],"rejected":["c"]}""", "three styles")]
    public void Wrong_files_are_refused_with_their_place(string name, string text, string complaint)
    {
        File.WriteAllText(file, text);
        Assert.Contains(complaint, Assert.Throws<DataException>(() => Benchmark.Read(name, file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_best_of_more_answers_is_better_by_as_much_as_the_model_knows()
    {
        // Merits 0 to 7; "good" marks the three best answers, and the longest is the worst.
        ResponseSet[] sets = [.. Enumerable.Range(0, 30).Select(prompt => new ResponseSet
        {
            Prompt = Message.Question($"q{prompt}"),
            Responses = [.. Enumerable.Range(0, 8).Select(answer => $"{(answer < 3 ? "good" : "bad")} {new string('x', answer)}")],
            Scores = [.. Enumerable.Range(0, 8).Select(answer => 7.0 - answer)],
        })];
        BestOfNEvaluator evaluator = new(new GoodIsBetter());
        BestOfNResult all = await evaluator.RunAsync(sets, size: 8, draws: 4, TestContext.Current.CancellationToken);
        Assert.Equal((3.5, 7.0, 0.0, 30), (all.Random, all.Best, all.Longest, all.Prompts));
        Assert.InRange(all.Picked.Mean, 5, 7);
        BestOfNResult two = await evaluator.RunAsync(sets, size: 2, draws: 4, TestContext.Current.CancellationToken), one = await evaluator.RunAsync(sets, size: 1, draws: 4, TestContext.Current.CancellationToken);
        Assert.Equal(one.Random, one.Picked.Mean, 9);
        Assert.Equal(one.Best, one.Picked.Mean, 9);
        Assert.True(two.Random < two.Picked.Mean && two.Picked.Mean < all.Picked.Mean && two.Picked.Mean <= two.Best, $"{one} {two} {all}");
        Assert.True(two.Picked.Low < two.Picked.Mean && two.Picked.Mean < two.Picked.High);
        await Assert.ThrowsAsync<DataException>(() => evaluator.RunAsync(sets, size: 9, draws: 1, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task What_is_too_long_is_a_tie_and_a_model_that_cannot_judge_is_no_tie()
    {
        PreferencePair pair = new() { Prompt = Message.Question("q"), Chosen = "good", Rejected = "bad" };
        ResponseSet set = new() { Prompt = pair.Prompt, Responses = ["good", "bad"], Scores = [1, 0] };
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Refusing tooLong = new(tooLong: true), unable = new(tooLong: false);
        Assert.Null((await new Evaluator(tooLong).RunAsync([pair], cancel: cancel))[0].ChosenIsBetter);
        Assert.Equal(1, (await new BestOfNEvaluator(tooLong).RunAsync([set], size: 2, draws: 1, cancel)).TooLong);
        await Assert.ThrowsAsync<InvalidRequestException>(() => new Evaluator(unable).RunAsync([pair], cancel: cancel));
        await Assert.ThrowsAsync<InvalidRequestException>(() => new BestOfNEvaluator(unable).RunAsync([set], size: 2, draws: 1, cancel));
    }

    public void Dispose() => File.Delete(file);

    private sealed class Refusing(bool tooLong) : IRewardModel
    {
        public Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default) =>
            throw new InvalidRequestException("No.", "model") { TooLong = tooLong };
    }

    private sealed class GoodIsBetter : IRewardModel
    {
        public Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default) =>
            Task.FromResult<IReadOnlyList<double>>([.. responses.Select(response => response.Contains("good", StringComparison.Ordinal) ? 1.0 : 0.0)]);
    }
}
