using System.Runtime.InteropServices;
using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Losses;
using XDeepServe.Training.Network;
using static TorchSharp.torch;

namespace XDeepServe.Training.Stages;

/// <summary>
/// Direct preference optimisation: a policy learns from pairs without a reward model, <c>Δ = β [(log π(y_w) − log π₀(y_w)) − (log π(y_l) − log π₀(y_l))]</c>.
/// The reference π₀ is the network before the first step: its log-probabilities are computed once.
/// </summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class DirectPreference(PromptWriter writer, TrainingSettings settings) : Stage(writer, settings)
{
    private readonly Dictionary<string, double> remembered = new(StringComparer.Ordinal); // log-probabilities of asked sequences by their ids

    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        foreach (PreferencePair pair in PreferenceData.Pairs(path, counts))
        {
            Example example = Encode(pair);
            if (example.Length <= Settings.MaxLength)
                yield return example;
            else
                counts.Drop("longer than max_length");
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Example> Prepare(Decoder network, IReadOnlyList<Example> examples)
    {
        Dictionary<Example, double[]> references = new(ReferenceEqualityComparer.Instance);
        using IDisposable unrecorded = no_grad();
        foreach (IReadOnlyList<Example> together in BatchPlan.ByLength(examples, Settings.PerDeviceEvalBatchSize))
        {
            using DisposeScope scope = NewDisposeScope();
            Batch batch = Batch(together, network.Weights.Device);
            float[] sums = TokenLoss.Sums(network, network.Hidden(batch.Ids, batch.Pictures), batch).cpu().data<float>().ToArray();
            for (int i = 0; i < together.Count; i++)
                references[together[i]] = [-sums[2 * i], -sums[2 * i + 1]];
        }
        return [.. examples.Select(example => example with { Reference = references[example] })];
    }

    /// <inheritdoc/>
    public override void Remember(Decoder network, IEnumerable<Example> asked)
    {
        foreach (Example example in Prepare(network, [.. asked.Where(example => example.Length <= Settings.MaxLength)]))
            for (int i = 0; i < example.Sequences.Count; i++)
                remembered[Key(example.Sequences[i])] = example.Reference[i];
    }

    /// <summary>The answer whose probability has grown more against the network before the first step is the better one.</summary>
    public override IReadOnlyList<Example> Ask(PreferencePair pair)
    {
        Example example = Encode(pair);
        return [example with { Reference = [.. example.Sequences.Select(sequence => remembered.GetValueOrDefault(Key(sequence)))] }];
    }

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch)
    {
        Tensor likelihoods = -TokenLoss.Sums(network, hidden, batch).view(-1, 2);
        Tensor gains = likelihoods.select(1, 0) - likelihoods.select(1, 1) - batch.Column(example => example.Reference[0] - example.Reference[1]);
        Tensor difference = gains * Settings.Beta;
        return new Outcome(PairLoss.Smoothed(difference, Settings.Smoothing.Weight), difference);
    }

    private Example Encode(PreferencePair pair)
    {
        int[] prompt = Writer.Encode(pair.Prompt, opensAnswer: true);
        return new Example([Answer(pair, prompt, pair.Chosen), Answer(pair, prompt, pair.Rejected)]);
    }

    private Sequence Answer(PreferencePair pair, int[] prompt, string answer)
    {
        Sequence whole = Encode([.. pair.Prompt, new Message("assistant", answer)], opensAnswer: false);
        return whole with { Learned = [(whole.Ids.AsSpan().CommonPrefixLength(prompt), whole.Ids.Length)] };
    }

    private static string Key(Sequence sequence) => new(MemoryMarshal.Cast<int, char>(sequence.Ids));
}
