using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// A model with a score head of one value on the last token of the whole conversation (Bradley-Terry). Scores are comparable across
/// calls up to a constant for each prompt.
/// </summary>
/// <param name="reader">Runs the model.</param>
/// <param name="writer">Its tokenizer and template.</param>
public sealed class ScalarRewardModel(PromptReader reader, PromptWriter writer) : IRewardModel
{
    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        IReadOnlyList<float>[] values = await Task.WhenAll(responses.Select(response =>
            reader.ReadAsync(writer.Write([.. prompt, new Message("assistant", response)], opensAnswer: false), Readout.Scores, cancel))).ConfigureAwait(false);
        return [.. values.Select(value => (double)value[0])];
    }
}
