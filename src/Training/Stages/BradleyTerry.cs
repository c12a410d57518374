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
/// A discriminative reward model: <c>r = vᵀ h_last</c>; of two answers <c>−log σ(r_w − r_l − m)</c> with optional smoothing and centring
/// <c>c (r_w + r_l)²</c>; of more than two Plackett-Luce.
/// </summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class BradleyTerry(PromptWriter writer, TrainingSettings settings) : Stage(writer, settings)
{
    /// <summary>The score head, <c>[1, hidden]</c>.</summary>
    public const string Head = "score.weight";

    private int width; // answers of every example; 0 before the first

    /// <inheritdoc/>
    public override ScoreHead Scoring => ScoreHead.Linear;

    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        IEnumerable<Example> examples = Settings.UseMargin
            ? PreferenceData.Pairs(path, counts).Select(pair => Encode(pair.Prompt, [pair.Chosen, pair.Rejected]) with { Margin = MarginOf(pair, counts) })
            : PreferenceData.Rankings(path, counts).Select(ranked => Encode(ranked.Prompt, ranked.Responses));
        foreach (Example example in examples)
        {
            if (width == 0)
                width = example.Sequences.Count;
            if (example.Sequences.Count != width)
                throw new TrainingException($"{path}: a ranking of {example.Sequences.Count} different answers beside one of {width}; all must have as many, because they run together. Split the data by that number.");
            if (width > 2 && (Settings.LabelSmoothing > 0 || Settings.CenterRewardsCoefficient > 0))
                throw new TrainingException($"{path}: label_smoothing and center_rewards_coefficient are for pairs; leave them out for rankings of {width} answers.");
            if (example.Length > Settings.MaxLength)
                counts.Drop("longer than max_length");
            else
                yield return example;
        }
    }

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch)
    {
        Tensor rewards = linear(batch.AtLast(hidden), network.Weights[Head]).to(ScalarType.Float32).view(-1, batch.Width);
        Tensor best = rewards.select(1, 0);
        if (batch.Width > 2)
            return new Outcome(PairLoss.PlackettLuce(rewards), best - rewards.narrow(1, 1, batch.Width - 1).amax([1]));
        Tensor other = rewards.select(1, 1);
        Tensor losses = PairLoss.Smoothed(best - other - batch.Column(example => example.Margin), Settings.Smoothing.Weight);
        if (Settings.CenterRewardsCoefficient > 0)
            losses += (best + other).square() * Settings.CenterRewardsCoefficient;
        return new Outcome(losses, best - other);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Example> Ask(PreferencePair pair) => [Encode(pair.Prompt, [pair.Chosen, pair.Rejected]) with { Pair = pair }];

    private static double MarginOf(PreferencePair pair, DataCounts counts)
    {
        if (pair.Margin is null)
            counts.Remark("without a margin");
        return pair.Margin ?? 0;
    }

    private Example Encode(IReadOnlyList<Message> prompt, IReadOnlyList<string> answers) =>
        new([.. answers.Select(answer => Encode([.. prompt, new Message("assistant", answer)], opensAnswer: false))]);
}
