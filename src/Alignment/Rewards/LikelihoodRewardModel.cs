using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>A baseline: the mean log-probability that a language model, not trained to judge, gives the answer's tokens.</summary>
/// <param name="reader">Runs the model.</param>
/// <param name="writer">Its tokenizer and template.</param>
public sealed class LikelihoodRewardModel(PromptReader reader, PromptWriter writer) : IRewardModel
{
    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default)
    {
        WrittenPrompt question = writer.Write(prompt, opensAnswer: true);
        return await Task.WhenAll(responses.Select(async response =>
        {
            int[] answer = writer.Encode(response);
            if (answer.Length == 0)
                return double.NegativeInfinity;
            IReadOnlyList<float> logprobs = await reader.LikelihoodAsync(question with { Ids = [.. question.Ids, .. answer] }, cancel).ConfigureAwait(false);
            return logprobs.Skip(question.Ids.Length - 1).Average(logprob => (double)logprob);
        })).ConfigureAwait(false);
    }
}
