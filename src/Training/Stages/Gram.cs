using TorchSharp;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Losses;
using XDeepServe.Training.Network;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace XDeepServe.Training.Stages;

/// <summary>
/// GRAM's second stage (arXiv:2506.14175): the judge's prompt is answered with one of two label tokens, and the softmax, with its smoothing, runs over
/// those two alone ("selective" label smoothing).
/// </summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="judge">The question; scoring must use the same one.</param>
/// <param name="settings">Of the run.</param>
public sealed class Gram(PromptWriter writer, JudgePrompt judge, TrainingSettings settings) : OrderedStage(writer, settings)
{
    private readonly long[] labels = [writer.SingleToken(judge.LabelA), writer.SingleToken(judge.LabelB)];

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch)
    {
        Tensor head = network.Weights.TryGet("lm_head.weight") ?? network.Weights["model.embed_tokens.weight"];
        Tensor logits = linear(batch.AtLast(hidden), head.index_select(0, tensor(labels, device: head.device))).to(ScalarType.Float32);
        Tensor difference = (logits.select(1, 0) - logits.select(1, 1)) * batch.Column(example => 1 - 2 * example.Label);
        return new Outcome(PairLoss.Smoothed(difference, Settings.Smoothing.Weight), difference);
    }

    /// <inheritdoc/>
    protected override Sequence Show(IReadOnlyList<Message> prompt, string first, string second) => Encode(judge.Write(prompt, first, second), opensAnswer: true);
}
