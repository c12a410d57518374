using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Stages;

/// <summary>Plain text, packed: texts follow one another with the end token between them, cut into sequences of the longest length.</summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class Pretraining(PromptWriter writer, TrainingSettings settings) : TextStage(writer, settings)
{
    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        int end = Writer.Tokenizer.EosId ?? throw new TrainingException("The model's tokenizer has no end token, which texts are joined with; set eos_token in its tokenizer_config.json.");
        List<int> open = [];
        foreach (Passage passage in PreferenceData.Passages(path, counts))
        {
            open.AddRange(passage.Text is { } text ? Writer.Tokenizer.Encode(text) : Writer.Encode(passage.Messages!, opensAnswer: false));
            open.Add(end);
            int at = 0;
            for (; open.Count - at >= Settings.MaxLength; at += Settings.MaxLength)
                yield return Whole(open.GetRange(at, Settings.MaxLength));
            open.RemoveRange(0, at);
        }
        if (open.Count > 1)
            yield return Whole(open);
    }

    private static Example Whole(List<int> ids) => new([new Sequence([.. ids], [(0, ids.Count)])]);
}
