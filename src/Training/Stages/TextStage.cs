using TorchSharp;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;
using XDeepServe.Training.Losses;
using XDeepServe.Training.Network;
using static TorchSharp.torch;

namespace XDeepServe.Training.Stages;

/// <summary>Learning a language: the next token, everywhere in plain text, in the assistant's turns of a conversation.</summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public abstract class TextStage(PromptWriter writer, TrainingSettings settings) : Stage(writer, settings)
{
    /// <inheritdoc/>
    public override double Weight(Example example) => example.Sequences.Sum(sequence => sequence.LearnedTokens);

    /// <inheritdoc/>
    public override Outcome Loss(Decoder network, Tensor hidden, Batch batch) => new(TokenLoss.Sums(network, hidden, batch), null);

    /// <summary>A sequence of which all behind a prompt is learnt, cut at the longest length.</summary>
    /// <returns>Null if nothing that is learnt is left.</returns>
    protected Example? Learn(int[] prompt, int[] answer, DataCounts counts)
    {
        int[] ids = [.. prompt, .. answer];
        return Cut(ids, [(prompt.Length, ids.Length)], counts);
    }

    /// <summary>A sequence, cut at the longest length.</summary>
    /// <returns>Null if nothing that is learnt is left.</returns>
    protected Example? Cut(int[] ids, IReadOnlyList<(int Start, int End)> learned, DataCounts counts, IReadOnlyList<string>? images = null)
    {
        if (ids.Length > Settings.MaxLength)
        {
            if (images is { Count: > 0 })
            {
                counts.Drop("with images and longer than max_length"); // a cut might go through an image's rows
                return null;
            }
            ids = ids[..Settings.MaxLength];
            learned = [.. learned.Where(range => range.Start < ids.Length).Select(range => (range.Start, Math.Min(range.End, ids.Length)))];
            if (learned.Count == 0)
            {
                counts.Drop("prompts longer than max_length");
                return null;
            }
            counts.Remark("truncated");
        }
        Sequence sequence = new(ids, learned) { Images = images ?? [] };
        if (sequence.LearnedTokens > 0)
            return new Example([sequence]);
        counts.Drop("empty");
        return null;
    }
}
