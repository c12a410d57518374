using TorchSharp;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Losses;
using XDeepServe.Training.Network;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace XDeepServe.Training.Stages;

/// <summary>
/// LRHP (arXiv:2410.04503): a pair is represented by the hidden state of a token behind it, and that is trained by telling whether the first answer is
/// the preferred one, <c>p = σ(wᵀh + b)</c>, binary cross-entropy; the order is random in training.
/// </summary>
/// <param name="writer">Turns texts into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class Representing(PromptWriter writer, TrainingSettings settings) : OrderedStage(writer, settings)
{
    /// <inheritdoc/>
    public override ScoreHead Scoring => ScoreHead.Biased;

    /// <summary>The score head's bias, <c>[1]</c>.</summary>
    public const string Bias = "score.bias";

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch)
    {
        Tensor first = linear(batch.AtLast(hidden), network.Weights[BradleyTerry.Head], network.Weights[Bias]).to(ScalarType.Float32).squeeze(1);
        Tensor difference = first * batch.Column(example => 1 - 2 * example.Label);
        return new Outcome(PairLoss.Smoothed(difference, Settings.Smoothing.Weight), difference);
    }

    /// <inheritdoc/>
    protected override Sequence Show(IReadOnlyList<Message> prompt, string first, string second) => new(PreferencePrompt.Encode(Writer.Tokenizer, prompt, first, second));
}
