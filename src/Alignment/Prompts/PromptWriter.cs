using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Prompts;

/// <summary>Turns conversations into a model's token ids, through its chat template. Training and scoring use the same one.</summary>
/// <param name="tokenizer">The model's.</param>
/// <param name="template">The model's, with its special tokens (<see cref="Tokenizer.CreateTemplate"/>); null to join the turns as plain text.</param>
public sealed class PromptWriter(Tokenizer tokenizer, ChatTemplate? template)
{
    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer => tokenizer;

    /// <summary>Token ids of a conversation.</summary>
    /// <param name="messages">The turns.</param>
    /// <param name="opensAnswer">Whether the assistant's turn is opened at the end. Thinking is disabled where the template knows it.</param>
    public int[] Encode(IReadOnlyList<Message> messages, bool opensAnswer) => tokenizer.Encode(Render(messages, opensAnswer), addSpecialTokens: template is null);

    /// <summary>Text of a conversation.</summary>
    /// <exception cref="TemplateException">The template refuses it.</exception>
    public string Render(IReadOnlyList<Message> messages, bool opensAnswer)
    {
        if (template is null)
            return string.Join("\n\n", messages.Select(message => message.Content)) + (opensAnswer ? "\n\n" : "");
        return template.Render(new JsonObject
        {
            ["messages"] = new JsonArray([.. messages.Select(message => new JsonObject { ["role"] = message.Role, ["content"] = message.Content })]),
            ["add_generation_prompt"] = opensAnswer,
            ["enable_thinking"] = false,
        });
    }

    /// <summary>The one token that a text is.</summary>
    /// <exception cref="ArgumentException">The text is several tokens, or none.</exception>
    public int SingleToken(string text)
    {
        int[] ids = tokenizer.Encode(text);
        return ids.Length == 1 ? ids[0] : throw new ArgumentException($"'{text}' is {ids.Length} tokens of this model; a label must be one.");
    }
}
