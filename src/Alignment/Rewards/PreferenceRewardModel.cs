using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// A model trained to represent preferences (LRHP, arXiv:2410.04503): the score head behind <see cref="PreferencePrompt"/> says how likely the answer that
/// is shown first is preferred, σ(wᵀh + b).
/// </summary>
/// <param name="reader">Runs the model.</param>
/// <param name="tokenizer">The model's; it knows <see cref="PreferencePrompt.Token"/>.</param>
public sealed class PreferenceRewardModel(PromptReader reader, Tokenizer tokenizer) : ComparingRewardModel
{
    /// <summary>What such a model's config.json calls its head's value, by which it is told from a model that scores one conversation.</summary>
    public const string Label = "preference";

    /// <inheritdoc/>
    protected override async Task<double> FirstIsBetterAsync(IReadOnlyList<Message> prompt, string first, string second, CancellationToken cancel)
    {
        int[] pair = PreferencePrompt.Encode(tokenizer, prompt, first, second);
        return 1 / (1 + Math.Exp(-(await reader.ReadAsync(pair, Readout.Scores, cancel).ConfigureAwait(false))[0]));
    }
}
