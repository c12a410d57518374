using System.Text.Json.Nodes;
using XDeepServe.Models;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;

namespace XDeepServe.Server;

/// <summary>How the served model takes images.</summary>
public sealed class ImageInput
{
    /// <summary>Describes a model that takes images.</summary>
    /// <param name="shape">Its images.</param>
    /// <param name="processor">Prepares them.</param>
    /// <param name="tokenizer">Knows the text of the token that stands for one.</param>
    /// <param name="template">The chat template in use; null for none.</param>
    public ImageInput(ImageConfig shape, ImageProcessor processor, Tokenizer tokenizer, ChatTemplate? template)
    {
        (Shape, Processor, Token) = (shape, processor, tokenizer.Piece(shape.TokenId));
        TakesParts = template is not null && WritesParts(template);
    }

    /// <summary>The model's images.</summary>
    public ImageConfig Shape { get; }

    /// <summary>Prepares an image.</summary>
    public ImageProcessor Processor { get; }

    /// <summary>The text that becomes an image's token.</summary>
    public string Token { get; }

    /// <summary>Whether the template takes a message's content as a list of parts and writes the token itself; else content is text with the token in it.</summary>
    public bool TakesParts { get; }

    /// <summary>A message's content as the template takes it.</summary>
    /// <param name="content">A text, or a list of parts: <c>{"type": "image"}</c> and <c>{"type": "text", "text"}</c>.</param>
    public JsonNode ForTemplate(JsonNode content)
    {
        if (!TakesParts)
        {
            return Requests.ChatMessages.Text(content, Token);
        }
        return content is JsonArray ? content.DeepClone() : new JsonArray(new JsonObject { ["type"] = "text", ["text"] = (string)content! });
    }

    private bool WritesParts(ChatTemplate template)
    {
        JsonArray content = [new JsonObject { ["type"] = "image" }, new JsonObject { ["type"] = "text", ["text"] = "?" }];
        try
        {
            string text = template.Render(new JsonObject
            {
                ["messages"] = new JsonArray(new JsonObject { ["role"] = "user", ["content"] = content }),
                ["add_generation_prompt"] = true,
                ["bos_token"] = "",
                ["eos_token"] = "",
            });
            return text.Contains(Token, StringComparison.Ordinal);
        }
        catch (TemplateException)
        {
            return false;
        }
    }
}
