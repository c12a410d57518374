using System.Text.Json;
using XDeepServe.Models.Text.Decoding;
using XDeepServe.Models.Text.Normalizing;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text;

/// <summary>How text is prepared for the model, and how the model's tokens become text again.</summary>
/// <param name="Normalizers">What rewrites the text first, in order.</param>
/// <param name="PreTokenizers">What splits it then, in order.</param>
/// <param name="Prefix">Ids put before a text on demand.</param>
/// <param name="Suffix">Ids put behind a text on demand.</param>
/// <param name="Rules">How tokens become text; null: they are bytes.</param>
/// <param name="Name">The name of the splitting rules in GGUF files, null if they have none.</param>
internal sealed record TextPipeline(
    IReadOnlyList<Normalizer> Normalizers, IReadOnlyList<PreTokenizer> PreTokenizers, int[] Prefix, int[] Suffix, PieceRules? Rules, string? Name)
{
    /// <summary>The settings that a name in a GGUF file stands for.</summary>
    /// <param name="name">The name.</param>
    /// <param name="bos">The id put before a text on demand, if any.</param>
    public static TextPipeline FromName(string name, int? bos)
    {
        var sources = Splitting.Rules.Sources(name)
            ?? throw new TokenizerException($"The GGUF file splits text by the rules \"{name}\", which are not supported. Put the model's tokenizer.json beside it.");
        // Qwen brings text into form C, which GGUF does not say.
        return new(name == "qwen2" ? [UnicodeForm.C] : [], [.. sources.Select(PreTokenizerReader.Words)], bos is { } id ? [id] : [], [], Rules: null, name);
    }

    /// <summary>The settings of SentencePiece models, as GGUF files have them.</summary>
    /// <param name="leadingSpace">Whether a text is given a space at its start.</param>
    /// <param name="bos">The id put before a text on demand, if any.</param>
    public static TextPipeline SentencePiece(bool leadingSpace, int? bos)
    {
        Replacement marks = new(new LiteralPattern(" "), "\u2581");
        return new(leadingSpace ? [new Prepend("\u2581"), marks] : [marks], [], bos is { } id ? [id] : [], [], PieceRules.SentencePiece(leadingSpace), Name: null);
    }

    /// <summary>Reads the settings of a tokenizer.json; what is not supported is refused by name.</summary>
    /// <param name="file">The file.</param>
    /// <param name="byteLevel">Whether the model reads bytes.</param>
    public static TextPipeline Read(TokenizerFile file, bool byteLevel)
    {
        var normalizers = NormalizerReader.Read(file.Part("normalizer"));
        var preTokenizers = new PreTokenizerReader(file.Part("pre_tokenizer"));
        if (byteLevel)
            PieceRules.CheckByteLevel(file.Part("decoder"));
        var rules = byteLevel ? null : PieceRules.Read(file.Part("decoder"));
        var (prefix, suffix) = (new List<int>(), new List<int>());
        foreach (var processor in Settings.Flatten(file.Part("post_processor"), "processors"))
            ReadProcessor(processor, prefix, suffix);
        return new(normalizers, preTokenizers.Steps, [.. prefix], [.. suffix], rules, byteLevel ? preTokenizers.Name : null);
    }

    /// <summary>Brings text into the form that is split.</summary>
    public string Normalize(string text)
    {
        foreach (var normalizer in Normalizers)
            text = normalizer.Normalize(text);
        return text;
    }

    /// <summary>Processors run one after another, each around the result of those before it.</summary>
    private static void ReadProcessor(JsonElement processor, List<int> prefix, List<int> suffix)
    {
        switch (Settings.Kind(processor))
        {
            case "ByteLevel":
                return; // moves offsets only
            case "TemplateProcessing":
                var tokens = processor.GetProperty("special_tokens");
                var (before, after) = (new List<int>(), new List<int>());
                var seen = false;
                foreach (var item in processor.GetProperty("single").EnumerateArray())
                {
                    if (item.TryGetProperty("Sequence", out _))
                        seen = true;
                    else
                        (seen ? after : before).AddRange(tokens.GetProperty(Settings.Text(item.GetProperty("SpecialToken"), "id"))
                            .GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()));
                }
                prefix.InsertRange(0, before);
                suffix.AddRange(after);
                return;
            case "RobertaProcessing" or "BertProcessing":
                prefix.Insert(0, processor.GetProperty("cls")[1].GetInt32());
                suffix.Add(processor.GetProperty("sep")[1].GetInt32());
                return;
            default:
                throw Settings.Unsupported("post-processor", Settings.Kind(processor));
        }
    }
}
