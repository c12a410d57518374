using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Rewards;

/// <summary>Says how good answers are. Any thread; several calls may run at once.</summary>
public interface IRewardModel
{
    /// <summary>Scores answers to one conversation.</summary>
    /// <param name="prompt">What they answer.</param>
    /// <param name="responses">The answers; at least one.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>One number for each: higher is better. Comparable within the call; across calls only where the model's own documentation says so.</returns>
    /// <exception cref="FlowServe.InvalidRequestException">A text does not fit the model.</exception>
    Task<IReadOnlyList<double>> ScoreAsync(IReadOnlyList<Message> prompt, IReadOnlyList<string> responses, CancellationToken cancel = default);

    /// <summary>The reward model that a model on an engine is: by its score head, if it has one of one value, else a judge.</summary>
    /// <param name="reader">Runs the model.</param>
    /// <param name="writer">Its tokenizer and template.</param>
    /// <param name="labels">Names of its score head's values; none for a model that generates.</param>
    /// <param name="judge">The question that a judge answers.</param>
    static IRewardModel Of(PromptReader reader, PromptWriter writer, IReadOnlyList<string> labels, JudgePrompt judge) => labels switch
    {
        [PreferenceRewardModel.Label] => new PreferenceRewardModel(reader, writer.Tokenizer),
        [_] => new ScalarRewardModel(reader, writer),
        _ => new GenerativeRewardModel(reader, writer, judge),
    };

    /// <summary>Compares two answers.</summary>
    /// <returns>How likely the first is better, and whether the order in which they are shown made no difference.</returns>
    async Task<Preference> CompareAsync(IReadOnlyList<Message> prompt, string first, string second, CancellationToken cancel = default)
    {
        IReadOnlyList<double> scores = await ScoreAsync(prompt, [first, second], cancel).ConfigureAwait(false);
        return new Preference(1 / (1 + Math.Exp(scores[1] - scores[0])), Consistent: true);
    }
}

/// <summary>What came of a comparison.</summary>
/// <param name="FirstIsBetter">Probability.</param>
/// <param name="Consistent">Whether the verdict is the same in both orders.</param>
public readonly record struct Preference(double FirstIsBetter, bool Consistent);
