using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// A model with a score head of one value on the last token of the whole conversation (Bradley-Terry). Scores are comparable across
/// calls up to a constant for each prompt.
/// </summary>
/// <param name="reader">Reads the head.</param>
public sealed class ScalarRewardModel(IConversationReader reader) : IRewardModel
{
    /// <summary>A scorer on an engine in this process.</summary>
    /// <param name="reader">Runs the model.</param>
    /// <param name="writer">Its tokenizer and template.</param>
    public ScalarRewardModel(PromptReader reader, PromptWriter writer) : this(new EngineReader(reader, writer))
    {
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default) =>
        await Task.WhenAll(responses.Select(response => reader.ReadScoreAsync([.. prompt, new Message("assistant", response)], cancel))).ConfigureAwait(false);
}
