using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Training.Batching;

namespace XDeepServe.Training.Stages;

/// <summary>
/// GRAM's first stage (arXiv:2506.14175): both answers of an unlabelled pair are generated from their question,
/// <c>−log π([y_a, y_b] | x)</c>, so that a judge to be learns how answers to a question can differ.
/// </summary>
/// <param name="writer">Turns conversations into token ids.</param>
/// <param name="settings">Of the run.</param>
public sealed class GramPretraining(PromptWriter writer, TrainingSettings settings) : TextStage(writer, settings)
{
    /// <inheritdoc/>
    public override IEnumerable<Example> Read(string path, DataCounts counts)
    {
        Random order = new(Settings.Seed);
        foreach (ResponseSet set in PreferenceData.Unlabelled(path, counts))
        {
            // Neighbours make pairs, each answer in one of them, so that a prompt with many answers does not outweigh the others by their square.
            for (int i = 0; i + 1 < set.Responses.Count; i += 2)
            {
                bool turned = order.Next(2) == 1;
                (string first, string second) = turned ? (set.Responses[i + 1], set.Responses[i]) : (set.Responses[i], set.Responses[i + 1]);
                int[] prompt = Writer.Encode(Message.Question($"[User Question]\n{JudgePrompt.Question(set.Prompt)}\n\n"), opensAnswer: true);
                int[] output = Writer.Encode(
                    $"[The Start of Assistant A's Answer]\n{first}\n[The End of Assistant A's Answer]\n\n[The Start of Assistant B's Answer]\n{second}\n[The End of Assistant B's Answer]");
                if (Learn(prompt, [.. output, .. End()], counts) is { } example)
                    yield return example;
            }
        }
    }

    private int[] End() => Writer.Tokenizer.EosId is { } end ? [end] : [];
}
