using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Images;

/// <summary>How a model with its tokenizer and chat template takes images: the same for serving, scoring and training.</summary>
public sealed class ImageInput
{
    /// <summary>Longest image file that is read.</summary>
    public const long MostBytes = 64 << 20;

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
            return Text(content, Token);
        return content is JsonArray ? content.DeepClone() : new JsonArray(new JsonObject { ["type"] = "text", ["text"] = (string)content! });
    }

    /// <summary>The text of a message's content: its text parts as lines, with something in place of images.</summary>
    /// <param name="content">As <see cref="ForTemplate"/> takes it.</param>
    /// <param name="image">Stands for an image; null to leave images out.</param>
    public static string Text(JsonNode content, string? image) => content is JsonArray parts
        ? string.Join('\n', parts.Select(part => (string?)part!["text"] ?? image).Where(text => text is not null))
        : (string)content!;

    /// <summary>Reads and prepares an image.</summary>
    /// <param name="file">A file's path, or a data URL in base64.</param>
    /// <returns><c>[3, size, size]</c>.</returns>
    /// <exception cref="ImageException">It is too long or cannot be decoded; the message names it.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public float[] Read(string file)
    {
        if (file.StartsWith("data:", StringComparison.OrdinalIgnoreCase))
        {
            try
            {
                return Processor.Process(Convert.FromBase64String(file[(file.IndexOf(',', StringComparison.Ordinal) + 1)..]));
            }
            catch (FormatException)
            {
                throw new ImageException("A data URL's image is not valid base64.");
            }
        }
        // Devices and pipes, which need not end, have 0 bytes too.
        if (new FileInfo(file) is { Exists: true, Length: 0 or > MostBytes } odd)
            throw new ImageException($"{file} has {odd.Length} bytes; an image of 1 to {MostBytes} can be taken.");
        try
        {
            return Processor.Process(File.ReadAllBytes(file));
        }
        catch (ImageException bad)
        {
            throw new ImageException($"{file}: {bad.Message}");
        }
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
