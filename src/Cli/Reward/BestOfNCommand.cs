using System.CommandLine;
using System.Text.Json;
using XDeepServe.Alignment.Ranking;

namespace XDeepServe.Cli.Reward;

/// <summary><c>xds best-of-n</c>: the best of several answers.</summary>
internal sealed class BestOfNCommand : Command
{
    private readonly Option<string> tournament = RewardFlags.TournamentFlag();
    private readonly Option<bool> json = new("--json") { Description = "Print one JSON object for each question." };
    private readonly AnswerFlags answers;
    private readonly RewardFlags reward;

    public BestOfNCommand() : base("best-of-n", "Picks the best of several answers with a reward model.")
    {
        Options.Add(tournament);
        Options.Add(json);
        answers = new AnswerFlags(this, least: 1);
        reward = new RewardFlags(this);
        SetAction((result, cancel) => RunAsync(result));
    }

    private Task<int> RunAsync(ParseResult result) => reward.UseAsync(result, async (model, cancel) =>
    {
        BestOfN pick = new(model, RewardFlags.ReadTournament(result, tournament));
        foreach ((IReadOnlyList<Alignment.Prompts.Message> prompt, IReadOnlyList<string> responses) in answers.Read(result))
        {
            int index = await pick.PickAsync(prompt, responses, cancel);
            Console.WriteLine(result.GetValue(json) ? JsonSerializer.Serialize(new { index, response = responses[index] }) : responses[index]);
        }
        return 0;
    });
}
