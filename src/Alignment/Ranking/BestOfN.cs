using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Rewards;

namespace XDeepServe.Alignment.Ranking;

/// <summary>Picks the best of several answers with a reward model.</summary>
/// <param name="model">Judges.</param>
/// <param name="tournament">How a model that compares finds the best; one that scores needs none.</param>
public sealed class BestOfN(IRewardModel model, Tournament tournament = Tournament.KnockOut)
{
    /// <summary>Indices of the best answers, the best first; of equals the earlier one. More than one are found by scores, which a judge makes of all comparisons.</summary>
    /// <param name="prompt">What they answer.</param>
    /// <param name="responses">The answers.</param>
    /// <param name="count">How many; at least 1.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<IReadOnlyList<int>> PickAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, int count, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        if (count == 1)
            return [await PickAsync(prompt, responses, cancel).ConfigureAwait(false)];
        IReadOnlyList<double> scores = await model.ScoreAsync(prompt, responses, cancel).ConfigureAwait(false);
        return [.. Enumerable.Range(0, responses.Count).OrderByDescending(index => scores[index]).Take(count)];
    }

    /// <summary>Index of the best answer; of equals the earlier one.</summary>
    public async Task<int> PickAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        if (model is ComparingRewardModel)
            return await Rankings.BestAsync(tournament, responses.Count, async (i, j) => (await model.CompareAsync(prompt, responses[i], responses[j], cancel).ConfigureAwait(false)).FirstIsBetter).ConfigureAwait(false);
        IReadOnlyList<double> scores = await model.ScoreAsync(prompt, responses, cancel).ConfigureAwait(false);
        return Enumerable.Range(0, responses.Count).MaxBy(index => scores[index]);
    }
}
