using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Ranking;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// A model that reads two answers at once. It is asked in both orders, because the order sways it: s(y₁) = ½ [p(first is better | y₁ first) + p(second is
/// better | y₁ second)].
/// </summary>
public abstract class ComparingRewardModel : IRewardModel
{
    /// <summary>
    /// Scores answers: with two, the probability that each is better; with more, their strengths in a Bradley-Terry model
    /// fitted to all comparisons.
    /// </summary>
    /// <exception cref="ArgumentException">There is one answer alone, which nothing can be said about; <see cref="RewardAsync"/> compares it with a reference.</exception>
    public async Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        if (responses.Count == 1)
            throw new ArgumentException("A judge compares answers and cannot score one alone: give another, or a reference to compare it with.");
        if (responses.Count == 2)
        {
            double first = (await CompareAsync(prompt, responses[0], responses[1], cancel).ConfigureAwait(false)).FirstIsBetter;
            return [first, 1 - first];
        }
        return await Rankings.RoundRobinAsync(responses.Count, async (i, j) => (await CompareAsync(prompt, responses[i], responses[j], cancel).ConfigureAwait(false)).FirstIsBetter).ConfigureAwait(false);
    }

    /// <summary>Scores answers against a reference, for example the policy's own greedy answer: comparable across calls, so a reward for learning.</summary>
    /// <returns>For each answer the probability that it is better than the reference.</returns>
    public async Task<IReadOnlyList<double>> RewardAsync(IReadOnlyList<Message> prompt, string reference, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        Preference[] preferences = await Task.WhenAll(responses.Select(response => CompareAsync(prompt, response, reference, cancel))).ConfigureAwait(false);
        return [.. preferences.Select(preference => preference.FirstIsBetter)];
    }

    /// <inheritdoc/>
    public async Task<Preference> CompareAsync(IReadOnlyList<Message> prompt, string first, string second, CancellationToken cancel = default)
    {
        Task<double> forward = FirstIsBetterAsync(prompt, first, second, cancel), backward = FirstIsBetterAsync(prompt, second, first, cancel);
        (double shownFirst, double shownSecond) = (await forward.ConfigureAwait(false), 1 - await backward.ConfigureAwait(false));
        return new Preference((shownFirst + shownSecond) / 2, shownFirst > 0.5 == shownSecond > 0.5);
    }

    /// <summary>How likely the answer that is shown first is better, in this order alone.</summary>
    protected abstract Task<double> FirstIsBetterAsync(IReadOnlyList<Message> prompt, string first, string second, CancellationToken cancel);
}
