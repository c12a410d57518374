using System.Text.Json;

namespace XDeepServe.Models.Text.Splitting;

/// <summary>Reads the pre-tokenizers of a tokenizer.json.</summary>
internal sealed class PreTokenizerReader
{
    private readonly List<string> sources = []; // regular expressions of those that GGUF knows

    /// <summary>Reads them.</summary>
    /// <param name="part">The setting, null if absent.</param>
    public PreTokenizerReader(JsonElement? part)
    {
        var steps = new List<PreTokenizer>();
        foreach (var setting in Settings.Flatten(part, "pretokenizers"))
            ReadOne(setting, steps);
        Steps = steps;
        Name = sources.Count == steps.Count ? Rules.Name(sources) : null;
    }

    /// <summary>The pre-tokenizers, in order.</summary>
    public IReadOnlyList<PreTokenizer> Steps { get; }

    /// <summary>Their name in GGUF files, null if they have none.</summary>
    public string? Name { get; }

    /// <summary>Whether a setting makes the model read bytes.</summary>
    public static bool IsByteLevel(JsonElement? preTokenizer, JsonElement? normalizer) =>
        Settings.Flatten(preTokenizer, "pretokenizers").Concat(Settings.Flatten(normalizer, "normalizers")).Any(setting => Settings.Kind(setting) == "ByteLevel");

    /// <summary>Splits by a regular expression.</summary>
    public static Splitter Words(string source) => new(Pattern.FromRegex(source), SplitBehavior.Isolated);

    /// <summary>When <c>Metaspace</c> gives a text a mark at its start.</summary>
    public static MarkStart MarkStart(JsonElement setting)
    {
        if (!setting.TryGetProperty("prepend_scheme", out var scheme))
            return Settings.Flag(setting, "add_prefix_space", true) ? Splitting.MarkStart.Always : Splitting.MarkStart.Never;
        return scheme.GetString() switch
        {
            "always" => Splitting.MarkStart.Always,
            "first" => Splitting.MarkStart.First,
            "never" => Splitting.MarkStart.Never,
            var other => throw Settings.Unsupported("prepend_scheme", other),
        };
    }

    private void ReadOne(JsonElement setting, List<PreTokenizer> steps)
    {
        switch (Settings.Kind(setting))
        {
            case "ByteLevel":
                if (Settings.Flag(setting, "add_prefix_space", true))
                    steps.Add(new LeadingSpace());
                if (Settings.Flag(setting, "use_regex", true))
                {
                    steps.Add(Words(Gpt2Words.Source));
                    sources.Add(Gpt2Words.Source);
                }
                return;
            case "Split":
                var behavior = Behavior(setting);
                var invert = Settings.Flag(setting, "invert", false);
                steps.Add(new Splitter(Pattern.Read(setting.GetProperty("pattern")), behavior, invert));
                if (behavior == SplitBehavior.Isolated && !invert && setting.GetProperty("pattern").TryGetProperty("Regex", out var regex))
                    sources.Add(Settings.Text(regex));
                return;
            case "Metaspace":
                steps.Add(new WordMarks(Settings.Character(setting, "replacement"), MarkStart(setting), Settings.Flag(setting, "split", true)));
                return;
            case "Digits":
                steps.Add(new Splitter(new ClassPattern(CharacterClass.Number, runs: !Settings.Flag(setting, "individual_digits", false)), SplitBehavior.Isolated));
                return;
            case "Punctuation":
                steps.Add(new Splitter(Punctuation, Behavior(setting)));
                return;
            case "WhitespaceSplit":
                steps.Add(new Splitter(Spaces, SplitBehavior.Removed));
                return;
            case "BertPreTokenizer":
                steps.Add(new Splitter(Spaces, SplitBehavior.Removed));
                steps.Add(new Splitter(Punctuation, SplitBehavior.Isolated));
                return;
            case "Whitespace":
                steps.Add(new Splitter(new RegexPattern(@"[\w\p{M}\p{Nl}]+|[^\w\p{M}\p{Nl}\s]+"), SplitBehavior.Removed, invert: true)); // what \w means there
                return;
            case "CharDelimiterSplit":
                steps.Add(new Splitter(new LiteralPattern(Settings.Character(setting, "delimiter").ToString()), SplitBehavior.Removed));
                return;
            default:
                throw Settings.Unsupported("pre-tokenizer", Settings.Kind(setting));
        }
    }

    private static ClassPattern Spaces => new(CharacterClass.Space, runs: true);

    private static ClassPattern Punctuation => new(CharacterClass.Punctuation, runs: false, asciiSymbols: true);

    private static SplitBehavior Behavior(JsonElement setting)
    {
        if (!setting.TryGetProperty("behavior", out var value))
            return SplitBehavior.Isolated;
        return Enum.TryParse<SplitBehavior>(value.GetString(), out var behavior) && Enum.IsDefined(behavior)
            ? behavior : throw Settings.Unsupported("split behavior", value.GetString());
    }
}
