using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;

namespace XDeepServe.Alignment.Ranking;

/// <summary>Picks the best of several answers with a reward model.</summary>
/// <param name="model">Judges.</param>
/// <param name="tournament">How a model that compares finds the best; one that scores needs none.</param>
public sealed class BestOfN(IRewardModel model, Tournament tournament = Tournament.KnockOut)
{
    /// <summary>Index of the best answer; of equals the earlier one.</summary>
    public async Task<int> PickAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        if (model is GenerativeRewardModel)
            return await Rankings.BestAsync(tournament, responses.Count, async (i, j) => (await model.CompareAsync(prompt, responses[i], responses[j], cancel).ConfigureAwait(false)).FirstIsBetter).ConfigureAwait(false);
        IReadOnlyList<double> scores = await model.ScoreAsync(prompt, responses, cancel).ConfigureAwait(false);
        return Enumerable.Range(0, responses.Count).MaxBy(index => scores[index]);
    }
}
