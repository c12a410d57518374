using System.Text.Json.Nodes;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Prompts;

/// <summary>
/// Turns conversations into a model's token ids, through its chat template. Training and scoring use the same one. A special token is one where the
/// template writes it; written in a turn it is text, so that no answer can end its own turn or begin another's.
/// </summary>
/// <param name="tokenizer">The model's.</param>
/// <param name="template">The model's, with its special tokens (<see cref="Tokenizer.CreateTemplate"/>); null to join the turns as plain text.</param>
/// <param name="images">How the model takes images; null for a model of text.</param>
public sealed class PromptWriter(Tokenizer tokenizer, ChatTemplate? template, ImageInput? images = null)
{
    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer => tokenizer;

    /// <summary>How the model takes images; null for a model of text.</summary>
    public ImageInput? Images => images;

    /// <summary>Token ids of a conversation; an image's token stands there as often as the image has rows. No image is read.</summary>
    /// <param name="messages">The turns.</param>
    /// <param name="opensAnswer">Whether the assistant's turn is opened at the end. Thinking is disabled where the template knows it.</param>
    /// <exception cref="ImageException">The model takes no images, or the text itself holds an image's token.</exception>
    public int[] Encode(IReadOnlyList<Message> messages, bool opensAnswer)
    {
        int[] ids = tokenizer.EncodeQuoted(Render([.. messages.Select(message => message with { Content = tokenizer.Quote(message.Content) })], opensAnswer), addSpecialTokens: template is null);
        if (images is null)
            return messages.SelectMany(message => message.Images).FirstOrDefault() is not { } file ? ids : throw new ImageException($"{file} cannot be shown: the model takes text only.");
        int shown = messages.Sum(message => message.Images.Count), found = ids.Count(id => id == images.Shape.TokenId);
        if (found != shown)
            throw new ImageException($"A prompt holds {found} image tokens for {shown} images; leave '{images.Token}' out of its text.");
        return shown == 0 ? ids : [.. ids.SelectMany(id => Enumerable.Repeat(id, id == images.Shape.TokenId ? images.Shape.Rows : 1))];
    }

    /// <summary>A conversation with its images in place.</summary>
    /// <param name="messages">The turns.</param>
    /// <param name="opensAnswer">Whether the assistant's turn is opened at the end.</param>
    /// <exception cref="ImageException">An image cannot be decoded, or the model takes none.</exception>
    /// <exception cref="IOException">An image's file cannot be read.</exception>
    public WrittenPrompt Write(IReadOnlyList<Message> messages, bool opensAnswer)
    {
        int[] ids = Encode(messages, opensAnswer);
        return new WrittenPrompt(ids, images is null ? [] : PromptImage.Place(ids, [.. messages.SelectMany(message => message.Images).Select(images.Read)], images.Shape).Images);
    }

    /// <summary>Token ids of text outside of any conversation; special tokens written in it are text.</summary>
    public int[] Encode(string text) => tokenizer.Encode(text, parseSpecial: false);

    /// <summary>Text of a conversation.</summary>
    /// <exception cref="TemplateException">The template refuses it.</exception>
    public string Render(IReadOnlyList<Message> messages, bool opensAnswer)
    {
        if (template is null)
            return string.Join("\n\n", messages.Select(message => images is null ? message.Content : ImageInput.Text(Content(message), images.Token))) + (opensAnswer ? "\n\n" : "");
        return template.Render(new JsonObject
        {
            ["messages"] = new JsonArray([.. messages.Select(message => new JsonObject { ["role"] = message.Role, ["content"] = images is null ? message.Content : images.ForTemplate(Content(message)) })]),
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

    private static JsonNode Content(Message message) => message.Images.Count == 0
        ? message.Content
        : new JsonArray([.. message.Images.Select(_ => new JsonObject { ["type"] = "image" }), new JsonObject { ["type"] = "text", ["text"] = message.Content }]);
}

/// <summary>A conversation as the engine takes it.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="Images">Its images, in order of position.</param>
public sealed record WrittenPrompt(int[] Ids, IReadOnlyList<PromptImage> Images);
