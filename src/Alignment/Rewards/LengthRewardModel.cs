using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>A baseline that reads nothing: the longer answer, in characters, is better. What does not beat it has learnt length.</summary>
public sealed class LengthRewardModel : IRewardModel
{
    /// <inheritdoc/>
    public Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default) =>
        Task.FromResult<IReadOnlyList<double>>([.. responses.Select(response => (double)response.Length)]);
}
