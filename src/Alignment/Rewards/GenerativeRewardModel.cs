using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// A language model that judges: it reads two answers and says which is better by one of two labels, whose probabilities are a softmax over
/// these two alone (GRAM, arXiv:2506.14175).
/// </summary>
/// <param name="reader">Reads the labels.</param>
/// <param name="judge">The question; the one of its training.</param>
public sealed class GenerativeRewardModel(IConversationReader reader, JudgePrompt judge) : ComparingRewardModel
{
    /// <summary>A judge on an engine in this process.</summary>
    /// <param name="reader">Runs the model.</param>
    /// <param name="writer">Its tokenizer and template.</param>
    /// <param name="judge">The question; the one of its training.</param>
    /// <exception cref="ArgumentException">A label is not one token of the model.</exception>
    public GenerativeRewardModel(PromptReader reader, PromptWriter writer, JudgePrompt judge) : this(new EngineReader(reader, writer), judge)
    {
        writer.SingleToken(judge.LabelA);
        writer.SingleToken(judge.LabelB);
    }

    /// <inheritdoc/>
    protected override async Task<double> FirstIsBetterAsync(IReadOnlyList<Message> prompt, string first, string second, CancellationToken cancel) =>
        (await reader.ReadLabelsAsync(judge.Write(prompt, first, second), [judge.LabelA, judge.LabelB], cancel).ConfigureAwait(false))[0];
}
