using TorchSharp;
using XDeepServe.Alignment.Data;
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
public sealed class Gram(PromptWriter writer, JudgePrompt judge, TrainingSettings settings) : Stage(writer, settings)
{
    private readonly long[] labels = [writer.SingleToken(judge.LabelA), writer.SingleToken(judge.LabelB)];

    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        Random order = new(Settings.Seed);
        foreach (PreferencePair pair in PreferenceData.Pairs(path, counts))
        {
            int label = order.Next(2);
            if (Encode(pair, label) is { } example && example.Length <= Settings.MaxLength)
            {
                yield return example;
                if (Settings.BothOrders)
                    yield return Encode(pair, 1 - label);
            }
            else
            {
                counts.Drop("longer than max_length");
            }
        }
    }

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch)
    {
        Tensor head = network.Weights.TryGet("lm_head.weight") ?? network.Weights["model.embed_tokens.weight"];
        Tensor logits = linear(batch.AtLast(hidden), head.index_select(0, tensor(labels, device: head.device))).to(ScalarType.Float32);
        Tensor difference = (logits.select(1, 0) - logits.select(1, 1)) * batch.Column(example => 1 - 2 * example.Label);
        return new Outcome(PairLoss.Smoothed(difference, Settings.Smoothing.Weight), difference);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Example> Ask(PreferencePair pair) => [Encode(pair, 0), Encode(pair, 1)];

    /// <summary>The judge's prompt for a pair.</summary>
    /// <param name="pair">The pair.</param>
    /// <param name="label">0 if the chosen answer comes first, else 1.</param>
    private Example Encode(PreferencePair pair, int label)
    {
        (string first, string second) = label == 0 ? (pair.Chosen, pair.Rejected) : (pair.Rejected, pair.Chosen);
        return new Example([Encode(judge.Write(pair.Prompt, first, second), opensAnswer: true)]) { Label = label, Pair = pair };
    }
}
