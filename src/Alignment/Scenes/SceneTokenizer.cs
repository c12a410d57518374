using System.Text.Encodings.Web;
using System.Text.Json;

namespace XDeepServe.Alignment.Scenes;

/// <summary>
/// A tokenizer for the world of scenes: a token for each byte and each of its words, with the space in front; as Hugging Face's
/// files, with a chat template.
/// </summary>
public static class SceneTokenizer
{
    /// <summary>Ends a text.</summary>
    public const string EndOfText = "<|end|>";

    /// <summary>Names that are greeted.</summary>
    public static readonly IReadOnlyList<string> Names = ["Anna", "Ben", "Clara", "David"];

    internal static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private const string Sentences =
        "At There there is a I see The image shows at the are in all Describe list List Greet Hello nice to you Go away Add and It user assistant";

    private const string Template =
        "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";

    /// <summary>Tokens in all.</summary>
    public static int Count => Vocabulary().Count + Special.Length;

    /// <summary>The token that stands for an image.</summary>
    public static int ImageId => Vocabulary().Count + Array.IndexOf(Special, SceneWorld.ImageToken);

    /// <summary>The token that ends a turn.</summary>
    public static int EndId => Vocabulary().Count + Array.IndexOf(Special, EndOfText);

    private static string[] Special { get; } = [EndOfText, SceneWorld.ImageToken, "<|user|>", "<|assistant|>", "<|system|>"];

    /// <summary>Writes <c>tokenizer.json</c> and <c>tokenizer_config.json</c> into a folder.</summary>
    public static void Write(string folder)
    {
        List<string> vocabulary = Vocabulary();
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), JsonSerializer.Serialize(new
        {
            version = "1.0",
            added_tokens = Special.Select((text, place) => new { id = vocabulary.Count + place, content = text, single_word = false, lstrip = false, rstrip = false, normalized = false, special = true }),
            normalizer = (object?)null,
            pre_tokenizer = new { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true },
            decoder = new { type = "ByteLevel", add_prefix_space = true, trim_offsets = true, use_regex = true },
            model = new { type = "BPE", ignore_merges = true, vocab = vocabulary.Select((text, id) => (text, id)).ToDictionary(token => token.text, token => token.id), merges = Array.Empty<string>() },
        }, Plain));
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), JsonSerializer.Serialize(new
        {
            tokenizer_class = "PreTrainedTokenizerFast",
            eos_token = EndOfText,
            pad_token = EndOfText,
            chat_template = Template,
        }, Plain));
    }

    private static List<string> Vocabulary()
    {
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(value => Visible((byte)value).ToString())];
        IEnumerable<string> words = Sentences.Split(' ').Concat(Names).Concat(Caption.Numbers).Concat(SceneObject.Cells.SelectMany(cell => cell.Split(' ')))
            .Concat(Words<Extent>()).Concat(Words<Colour>()).Concat(Words<Shape>());
        foreach (string word in words.SelectMany(word => (string[])[word, $"{Visible((byte)' ')}{word}"]).Distinct())
            if (word.Length > 1)
                tokens.Add(word);
        return tokens;
    }

    private static IEnumerable<string> Words<T>() where T : struct, Enum => Enum.GetValues<T>().Select(SceneObject.Word);

    // GPT-2's bytes: those that can be seen stand for themselves, the others follow from U+0100 on.
    private static char Visible(byte value)
    {
        if (Seen(value))
            return (char)value;
        int unseen = 0;
        for (int other = 0; other < value; other++)
            unseen += Seen(other) ? 0 : 1;
        return (char)(256 + unseen);

        static bool Seen(int one) => one is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
    }
}
