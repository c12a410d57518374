using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Stages;

/// <summary>Supervised fine-tuning: the assistant's turns of conversations are learnt.</summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class FineTuning(PromptWriter writer, TrainingSettings settings) : TextStage(writer, settings)
{
    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        foreach (Passage passage in PreferenceData.Passages(path, counts))
            if ((passage.Text is { } text ? Learn([], Writer.Tokenizer.Encode(text), counts) : Conversation(passage.Messages!, counts)) is { } example)
                yield return example;
    }

    /// <summary>
    /// Which tokens an assistant's turn has is seen from two renderings that differ by it; a template that changes earlier turns when later ones come
    /// leaves the last turn to be learnt alone.
    /// </summary>
    private Example? Conversation(IReadOnlyList<Message> messages, DataCounts counts)
    {
        int[] ids = Writer.Encode(messages, opensAnswer: false);
        List<(int Start, int End)> learned = [];
        for (int turn = 0; turn < messages.Count; turn++)
        {
            if (messages[turn].Role != "assistant")
                continue;
            int[] before = Writer.Encode([.. messages.Take(turn)], opensAnswer: true);
            int[] after = Writer.Encode([.. messages.Take(turn + 1)], opensAnswer: false);
            int start = ids.AsSpan().CommonPrefixLength(before), end = ids.AsSpan().CommonPrefixLength(after);
            if (start == before.Length && end > start)
                learned.Add((start, end));
        }
        if (learned.Count > 0)
            return Cut(ids, learned, counts, [.. messages.SelectMany(message => message.Images)]);
        counts.Drop("without an assistant's turn that the template renders");
        return null;
    }
}
