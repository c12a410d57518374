using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds score</c>: how good answers are.</summary>
internal sealed class ScoreCommand : AnswersCommand
{
    private readonly Option<string?> reference = new("--reference") { Description = "An answer to compare each of the others with: a score is the probability to be better than it." };

    public ScoreCommand() : base("score", "Scores answers to a question with a reward model: higher is better. A judge compares them, and needs two answers or --reference.", least: 1, sorts: false) =>
        Options.Add(reference);

    protected override async Task<IReadOnlyList<double>> ScoreAsync(ParseResult result, IRewardModel model, IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel) =>
        result.GetValue(reference) is not { } other
            ? await base.ScoreAsync(result, model, prompt, responses, cancel)
            : [.. (await Task.WhenAll(responses.Select(response => model.CompareAsync(prompt, response, other, cancel)))).Select(preference => preference.FirstIsBetter)];
}

/// <summary><c>xds rank</c>: answers in order of merit.</summary>
internal sealed class RankCommand : AnswersCommand
{
    public RankCommand() : base("rank", "Ranks answers to a question with a reward model, the best first.", least: 2, sorts: true)
    {
    }
}

/// <summary>Scores the answers to each question and prints them, in their order or the best first.</summary>
internal abstract class AnswersCommand : Command
{
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON list for each question, an object for each answer." };
    private readonly AnswerFlags answers;
    private readonly RewardFlags reward;
    private readonly bool sorts;

    protected AnswersCommand(string name, string description, int least, bool sorts) : base(name, description)
    {
        this.sorts = sorts;
        Options.Add(json);
        answers = new AnswerFlags(this, least);
        reward = new RewardFlags(this);
        SetAction((result, cancel) => RunAsync(result));
    }

    /// <summary>A number for each answer.</summary>
    protected virtual Task<IReadOnlyList<double>> ScoreAsync(ParseResult result, IRewardModel model, IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel) =>
        model.ScoreAsync(prompt, responses, cancel);

    private Task<int> RunAsync(ParseResult result) => reward.UseAsync(result, async (model, cancel) =>
    {
        foreach ((IReadOnlyList<Message> prompt, IReadOnlyList<string> responses) in answers.Read(result))
        {
            IReadOnlyList<double> scores = await ScoreAsync(result, model, prompt, responses, cancel);
            int[] order = [.. Enumerable.Range(0, responses.Count)];
            if (sorts)
                order = [.. order.OrderByDescending(index => scores[index])];
            if (result.GetValue(json))
                Console.WriteLine(JsonSerializer.Serialize(order.Select(index => new { index, score = scores[index], response = responses[index] })));
            else
                foreach (int index in order)
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{scores[index],10:F4}  {index}  {Head(responses[index])}"));
        }
        return 0;
    });

    private static string Head(string text)
    {
        string line = text.ReplaceLineEndings(" ");
        return line.Length <= 100 ? line : line[..99] + "…";
    }
}
