using System.Text.Json;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text;

/// <summary>The settings of tokenizer.json that say how text is prepared, read into what carries them out.</summary>
/// <param name="Compose">Whether text is brought into normalization form C.</param>
/// <param name="PrefixSpace">Whether a text that begins without a space is given one.</param>
/// <param name="Splitters">The pre-tokenizers, in order.</param>
/// <param name="Prefix">Ids put before a text on demand.</param>
/// <param name="Suffix">Ids put behind a text on demand.</param>
/// <param name="Name">The name of the splitting rules in GGUF files, null if they have none.</param>
internal sealed record TextPipeline(bool Compose, bool PrefixSpace, IReadOnlyList<Splitter> Splitters, int[] Prefix, int[] Suffix, string? Name)
{
    /// <summary>The settings that a name in a GGUF file stands for.</summary>
    /// <param name="name">The name.</param>
    /// <param name="bos">The id put before a text on demand, if any.</param>
    public static TextPipeline FromName(string name, int? bos)
    {
        var sources = Rules.Sources(name)
            ?? throw new TokenizerException($"The GGUF file splits text by the rules \"{name}\", which are not supported. Put the model's tokenizer.json beside it.");
        // Qwen brings text into form C, which GGUF does not say.
        return new(Compose: name == "qwen2", PrefixSpace: false, [.. sources.Select(Words)], bos is { } id ? [id] : [], [], name);
    }

    /// <summary>Reads the settings; what is not supported is refused by name.</summary>
    public static TextPipeline Read(TokenizerFile file)
    {
        if (file.ModelPart("type") is { } type && type.GetString() != "BPE")
            throw Unsupported("model", type.GetString());
        foreach (var affix in (ReadOnlySpan<string>)["continuing_subword_prefix", "end_of_word_suffix"])
            if (file.ModelPart(affix) is { } value && value.GetString() is { Length: > 0 } text)
                throw Unsupported($"model setting {affix}", text);
        if (file.ModelPart("byte_fallback") is { ValueKind: JsonValueKind.True })
            throw Unsupported("model setting", "byte_fallback");

        var compose = false;
        foreach (var normalizer in Flatten(file.Part("normalizer"), "normalizers"))
            compose |= Kind(normalizer) == "NFC" ? true : throw Unsupported("normalizer", Kind(normalizer));

        var splitters = new List<Splitter>();
        var sources = new List<string>(); // of those splitters that GGUF knows
        var (byteLevel, prefixSpace) = (false, false);
        foreach (var stage in Flatten(file.Part("pre_tokenizer"), "pretokenizers"))
        {
            if (Kind(stage) == "ByteLevel")
            {
                byteLevel = true;
                if (Flag(stage, "add_prefix_space", true))
                    prefixSpace = splitters.Count == 0 ? true : throw Unsupported("pre-tokenizer", "ByteLevel with add_prefix_space behind another");
                if (Flag(stage, "use_regex", true))
                {
                    splitters.Add(Words(Gpt2Words.Source));
                    sources.Add(Gpt2Words.Source);
                }
            }
            else
            {
                splitters.Add(ReadSplitter(stage));
                if (Kind(stage) == "Split" && stage.GetProperty("pattern").TryGetProperty("Regex", out var regex)
                    && Behavior(stage, SplitBehavior.Isolated) == SplitBehavior.Isolated && !Flag(stage, "invert", false))
                    sources.Add(regex.GetString()!);
            }
        }
        if (!byteLevel)
            throw Unsupported("pre-tokenizer", "none that is ByteLevel");
        foreach (var decoder in Flatten(file.Part("decoder"), "decoders"))
            if (Kind(decoder) is not ("ByteLevel" or "Fuse"))
                throw Unsupported("decoder", Kind(decoder));

        var (prefix, suffix) = (new List<int>(), new List<int>());
        foreach (var processor in Flatten(file.Part("post_processor"), "processors"))
            ReadProcessor(processor, prefix, suffix);
        var name = prefixSpace || sources.Count != splitters.Count ? null : Rules.Name(sources);
        return new(compose, prefixSpace, splitters, [.. prefix], [.. suffix], name);
    }

    private static Splitter Words(string source) => new(Pattern.FromRegex(source), SplitBehavior.Isolated, invert: false);

    private static Splitter ReadSplitter(JsonElement stage)
    {
        switch (Kind(stage))
        {
            case "Split":
                var pattern = stage.GetProperty("pattern");
                return new Splitter(
                    pattern.TryGetProperty("Regex", out var regex)
                        ? Pattern.FromRegex(regex.GetString()!)
                        : new LiteralPattern(pattern.GetProperty("String").GetString() is { Length: > 0 } text ? text : throw Unsupported("pre-tokenizer", "Split by an empty string")),
                    Behavior(stage, SplitBehavior.Isolated), Flag(stage, "invert", false));
            case "Digits":
                return new Splitter(new ClassPattern(CharacterClass.Number, runs: !Flag(stage, "individual_digits", false)), SplitBehavior.Isolated, invert: false);
            case "Punctuation":
                return new Splitter(new ClassPattern(CharacterClass.Punctuation, runs: false, asciiSymbols: true), Behavior(stage, SplitBehavior.Isolated), invert: false);
            case "WhitespaceSplit":
                return new Splitter(new ClassPattern(CharacterClass.Space, runs: true), SplitBehavior.Removed, invert: false);
            case "Whitespace":
                return new Splitter(new RegexPattern(@"\w+|[^\w\s]+"), SplitBehavior.Removed, invert: true);
            default:
                throw Unsupported("pre-tokenizer", Kind(stage));
        }
    }

    /// <summary>Processors run one after another, each around the result of those before it.</summary>
    private static void ReadProcessor(JsonElement processor, List<int> prefix, List<int> suffix)
    {
        switch (Kind(processor))
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
                        (seen ? after : before).AddRange(tokens.GetProperty(item.GetProperty("SpecialToken").GetProperty("id").GetString()!)
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
                throw Unsupported("post-processor", Kind(processor));
        }
    }

    private static IEnumerable<JsonElement> Flatten(JsonElement? part, string list)
    {
        if (part is not { } element)
            return [];
        return Kind(element) == "Sequence"
            ? element.GetProperty(list).EnumerateArray().SelectMany(inner => Flatten(inner, list))
            : [element];
    }

    private static string Kind(JsonElement element) => element.GetProperty("type").GetString() ?? "null";

    private static bool Flag(JsonElement element, string name, bool otherwise) =>
        element.TryGetProperty(name, out var flag) ? flag.GetBoolean() : otherwise;

    private static SplitBehavior Behavior(JsonElement element, SplitBehavior otherwise)
    {
        if (!element.TryGetProperty("behavior", out var value))
            return otherwise;
        return Enum.TryParse<SplitBehavior>(value.GetString(), out var behavior) ? behavior : throw Unsupported("split behavior", value.GetString());
    }

    private static TokenizerException Unsupported(string what, string? name) =>
        new($"tokenizer.json asks for the {what} \"{name}\", which is not supported; byte-level BPE tokenizers are.");
}
