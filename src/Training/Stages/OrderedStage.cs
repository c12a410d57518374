using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Stages;

/// <summary>
/// Stages that show both answers of a pair at once: the chosen one first or second at random, or in both orders. A pair is asked about in both.
/// </summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public abstract class OrderedStage(PromptWriter writer, TrainingSettings settings) : Stage(writer, settings)
{
    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        Random order = new(Settings.Seed);
        foreach (PreferencePair pair in PreferenceData.Pairs(path, counts))
        {
            int label = order.Next(2);
            Example example = Encode(pair, label);
            if (example.Length > Settings.MaxLength)
            {
                counts.Drop("longer than max_length");
                continue;
            }
            yield return example;
            if (Settings.BothOrders)
                yield return Encode(pair, 1 - label);
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Example> Ask(PreferencePair pair) => [Encode(pair, 0), Encode(pair, 1)];

    /// <summary>The sequence that shows two answers.</summary>
    protected abstract Sequence Show(IReadOnlyList<Message> prompt, string first, string second);

    // The label is 0 if the chosen answer comes first, else 1.
    private Example Encode(PreferencePair pair, int label)
    {
        (string first, string second) = label == 0 ? (pair.Chosen, pair.Rejected) : (pair.Rejected, pair.Chosen);
        return new Example([Show(pair.Prompt, first, second)]) { Label = label, Pair = pair };
    }
}
