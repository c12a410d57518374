using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Data;

/// <summary>Fields of one example, with errors that name file, place and field.</summary>
/// <param name="place">The file and the line, row or item in it.</param>
/// <param name="json">The object.</param>
public sealed class Row(string place, JsonElement json)
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Names of the fields that are there and not null.</summary>
    public IEnumerable<string> Names => json.EnumerateObject().Where(item => item.Value.ValueKind != JsonValueKind.Null).Select(item => item.Name);

    /// <summary>Whether a field is there and not null.</summary>
    public bool Has(string field) => json.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>A field that must be there.</summary>
    public JsonElement Required(string field) => Has(field) ? json.GetProperty(field) : throw Wrong(field, $"is missing; the fields are {string.Join(", ", json.EnumerateObject().Select(one => one.Name))}");

    /// <summary>A string that must be there.</summary>
    public string Text(string field) => Required(field) is { ValueKind: JsonValueKind.String } value ? Words(field, value) : throw Wrong(field, "must be a string");

    /// <summary>A string or number as text; empty if absent.</summary>
    public string Name(string field) => !Has(field) ? "" : json.GetProperty(field) is { ValueKind: JsonValueKind.String } text ? Words(field, text) : json.GetProperty(field).GetRawText();

    /// <summary>A number; null if absent.</summary>
    public double? Number(string field) => !Has(field) ? null : AsNumber(json.GetProperty(field)) ?? throw Wrong(field, "must be a finite number");

    /// <summary>By how much the chosen answer is better: <c>margin</c>, or <c>score_chosen</c> less <c>score_rejected</c>; null if absent.</summary>
    public double? Margin => Number("margin") ?? Number("score_chosen") - Number("score_rejected");

    /// <summary>A whole number that must be there.</summary>
    public int Integer(string field) => Required(field) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt32(out int number) ? number : throw Wrong(field, "must be a whole number");

    /// <summary>A list of numbers that must be there.</summary>
    public IReadOnlyList<double> Numbers(string field) =>
        [.. Items(field).Select(item => AsNumber(item) ?? throw Wrong(field, "must be a list of finite numbers"))];

    /// <summary>A list of strings that must be there.</summary>
    public IReadOnlyList<string> Texts(string field) =>
        [.. Items(field).Select(item => item.ValueKind == JsonValueKind.String ? Words(field, item) : throw Wrong(field, "must be a list of strings"))];

    /// <summary>A list that must be there.</summary>
    public IEnumerable<JsonElement> Items(string field) =>
        Required(field) is { ValueKind: JsonValueKind.Array } list ? list.EnumerateArray() : throw Wrong(field, "must be a list");

    /// <summary>
    /// A conversation: a string (one question), a message or a list of messages, each with <c>role</c> and <c>content</c> or, as ShareGPT
    /// writes them, <c>from</c> and <c>value</c>. Content in parts is joined; parts other than text are refused.
    /// </summary>
    public IReadOnlyList<Message> Messages(string field)
    {
        JsonElement value = Required(field);
        return value.ValueKind switch
        {
            JsonValueKind.String => Message.Question(Words(field, value)),
            JsonValueKind.Object => [Turn(value)],
            JsonValueKind.Array => [.. value.EnumerateArray().Select(Turn)],
            _ => throw Wrong(field, "must be a string or a list of messages"),
        };

        Message Turn(JsonElement item)
        {
            if (item.ValueKind != JsonValueKind.Object || Part(item, "role", "from") is not { ValueKind: JsonValueKind.String } role || Part(item, "content", "value") is not { } content)
                throw Wrong(field, "must hold messages with 'role' and 'content' (or 'from' and 'value')");
            return new Message(Role(Words(field, role)), content.ValueKind switch
            {
                JsonValueKind.String => Words(field, content),
                JsonValueKind.Array => string.Concat(content.EnumerateArray().Select(TextPart)),
                _ => throw Wrong(field, "must hold messages whose content is text"),
            });
        }

        string TextPart(JsonElement part) =>
            part.ValueKind == JsonValueKind.Object && part.TryGetProperty("text", out JsonElement text) && text.ValueKind == JsonValueKind.String
                ? Words(field, text)
                : throw Wrong(field, "must hold messages whose content is text");
    }

    /// <summary>
    /// A conversation with the row's images: <c>image</c> or <c>images</c>, files relative to the data's own, data URLs, or Hugging Face's objects with
    /// <c>bytes</c> and <c>path</c>. They belong to the first turn of the user, whose text may hold a mark for each.
    /// </summary>
    /// <param name="prompt">The conversation.</param>
    /// <param name="path">The data's file.</param>
    public IReadOnlyList<Message> WithImages(IReadOnlyList<Message> prompt, string path)
    {
        IReadOnlyList<string> given = Has("image") ? [Image("image", Required("image"))] : Has("images") ? [.. Items("images").Select(image => Image("images", image))] : [];
        if (given.Count == 0)
            return prompt;
        Message[] turns = [.. prompt];
        int asked = Array.FindIndex(turns, turn => turn.Role == "user");
        if (asked < 0)
            throw Wrong("prompt", "holds no turn of the user that could show the image");
        turns[asked] = turns[asked] with
        {
            Content = turns[asked].Content.Replace($"{Message.ImageMark}\n", "", StringComparison.Ordinal).Replace(Message.ImageMark, "", StringComparison.Ordinal).Trim(),
            Images = [.. given.Select(name => Within(Folder(path), name))],
        };
        return turns;

        string Image(string field, JsonElement image) =>
            image.ValueKind == JsonValueKind.String && Words(field, image) is { Length: > 0 } name ? name
            : image.ValueKind != JsonValueKind.Object ? throw Unshown(field)
            : Part(image, "bytes") is { } bytes ? $"data:;base64,{Words(field, bytes)}"
            : Words(field, Part(image, "path") ?? throw Unshown(field));

        static JsonElement? Part(JsonElement image, string name) => image.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value : null;

        DataException Unshown(string field) => Wrong(field, "must name image files, or hold data URLs or objects with 'bytes' (in base64) or 'path'");
    }

    /// <summary>The object on one line of JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(json, Plain);

    /// <summary>The object on one line of JSON that is to stand in another file: in another folder its images have their whole paths.</summary>
    /// <param name="path">The data's file.</param>
    /// <param name="target">The file that it is written to.</param>
    public string ToJson(string path, string target)
    {
        string folder = Folder(path);
        if (folder == Folder(target) || !(Has("image") || Has("images")))
            return ToJson();
        JsonObject copy = JsonNode.Parse(ToJson())!.AsObject();
        if (copy["image"] is { } one)
            copy["image"] = Moved(one);
        if (copy["images"] is { } several && several.GetValueKind() == JsonValueKind.Array)
            for (int at = 0; at < several.AsArray().Count; at++)
                several[at] = Moved(several[at]);
        return copy.ToJsonString(Plain);

        JsonNode? Moved(JsonNode? image)
        {
            if (image is JsonObject parts && parts["bytes"] is null && parts["path"] is { } name)
                parts["path"] = Moved(name.DeepClone());
            return image?.GetValueKind() == JsonValueKind.String ? Within(folder, (string)image!) : image?.DeepClone();
        }
    }

    /// <summary>Says what is wrong with a field.</summary>
    /// <param name="field">Its name.</param>
    /// <param name="what">What is wrong.</param>
    /// <param name="cause">What a reader said; null for none.</param>
    public DataException Wrong(string field, string what, Exception? cause = null) => new($"{place}: '{field}' {what}.", cause);

    /// <summary>The text of a string that stands in a field.</summary>
    internal string Words(string field, JsonElement text)
    {
        try
        {
            return text.GetString()!;
        }
        catch (InvalidOperationException broken)
        {
            throw Wrong(field, "holds text that is not Unicode (bytes that are not UTF-8, or half of a surrogate pair); write the file in UTF-8", broken);
        }
    }

    private static string Folder(string path) => Path.GetDirectoryName(Path.GetFullPath(path))!;

    // Whole paths and data URLs stay as they are.
    private static string Within(string folder, string image) => image.StartsWith("data:", StringComparison.OrdinalIgnoreCase) ? image : Path.Combine(folder, image);

    private static JsonElement? Part(JsonElement item, string name, string other) =>
        item.TryGetProperty(name, out JsonElement value) || item.TryGetProperty(other, out value) ? value : null;

    private static double? AsNumber(JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number : null;

    private static string Role(string name) => name switch { "human" => "user", "gpt" => "assistant", _ => name };
}
