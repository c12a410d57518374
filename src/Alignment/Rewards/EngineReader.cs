using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Rewards;

/// <summary>Reads from an engine in this process.</summary>
/// <param name="reader">Runs the model.</param>
/// <param name="writer">Its tokenizer and template.</param>
public sealed class EngineReader(PromptReader reader, PromptWriter writer) : IConversationReader
{
    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ReadLabelsAsync(IReadOnlyList<Message> messages, IReadOnlyList<string> labels, CancellationToken cancel = default)
    {
        Readout readout = Readout.Labels([.. labels.Select(writer.SingleToken)]);
        IReadOnlyList<float> logprobs = await reader.ReadAsync(writer.Write(messages, opensAnswer: true), readout, cancel).ConfigureAwait(false);
        double top = logprobs.Max(), sum = logprobs.Sum(logprob => Math.Exp(logprob - top));
        return [.. logprobs.Select(logprob => Math.Exp(logprob - top) / sum)];
    }

    /// <inheritdoc/>
    public async Task<double> ReadScoreAsync(IReadOnlyList<Message> messages, CancellationToken cancel = default) =>
        (await reader.ReadAsync(writer.Write(messages, opensAnswer: false), Readout.Scores, cancel).ConfigureAwait(false))[0];
}
