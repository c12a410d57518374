using System.Text.Json;

namespace XDeepServe.Models.Text.Splitting;

/// <summary>Something that finds matches in a text, leftmost first and without overlap.</summary>
internal abstract class Pattern
{
    /// <summary>Appends all matches.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="matches">Receives the ranges.</param>
    public abstract void Match(ReadOnlySpan<char> text, PieceList matches);

    /// <summary>Reads a pattern of a tokenizer.json: <c>{"Regex": …}</c> or <c>{"String": …}</c>.</summary>
    public static Pattern Read(JsonElement setting)
    {
        if (setting.TryGetProperty("Regex", out var regex))
            return FromRegex(Settings.Text(regex));
        var literal = Settings.Text(setting, "String");
        return literal.Length > 0 ? new LiteralPattern(literal) : throw Settings.Unsupported("pattern", "");
    }

    /// <summary>The fastest pattern that means the same as a regular expression of a tokenizer.json.</summary>
    public static Pattern FromRegex(string source) => source switch
    {
        Gpt2Words.Source => new Gpt2Words(),
        ChatWords.Source1 => new ChatWords(1),
        ChatWords.Source3 => new ChatWords(3),
        DeepSeekWords.Source => new DeepSeekWords(),
        NumberRuns.Source => new NumberRuns(3),
        CasedWords.Source => new CasedWords(han: false),
        CasedWords.HanSource => new CasedWords(han: true),
        _ => new RegexPattern(source),
    };
}

/// <summary>A pattern written by hand: says at each place how much matches there.</summary>
internal abstract class ScanPattern : Pattern
{
    /// <summary>The length of the match that begins at a place, 0 if none does.</summary>
    protected abstract int MatchAt(ReadOnlySpan<char> text, int index);

    /// <inheritdoc/>
    public sealed override void Match(ReadOnlySpan<char> text, PieceList matches)
    {
        for (var index = 0; index < text.Length;)
        {
            var length = MatchAt(text, index);
            matches.Add(index, length);
            if (length == 0)
                CharacterClasses.At(text, index, out length);
            index += length;
        }
    }

    /// <summary>
    /// What <c>\s*[\r\n]+|\s+(?!\S)|\s+</c> (without the first part if <paramref name="lineBreaks"/> is false) matches
    /// at a white-space character: up to the run's last line break; else all of it at the end of the text, all but
    /// the last character before a word.
    /// </summary>
    protected static int WhiteSpace(ReadOnlySpan<char> text, int index, bool lineBreaks = true)
    {
        var end = CharacterClasses.RunEnd(text, index, CharacterClass.Space);
        if (lineBreaks && text[index..end].LastIndexOfAny('\r', '\n') is >= 0 and var last)
            return last + 1;
        return end < text.Length && end - index > 1 ? end - index - 1 : end - index;
    }

    /// <summary>Where up to a number of numeric characters end.</summary>
    protected static int NumberEnd(ReadOnlySpan<char> text, int index, int longest)
    {
        for (var digits = 0; digits < longest && index < text.Length; digits++)
        {
            if ((CharacterClasses.At(text, index, out var length) & CharacterClass.Number) == 0)
                break;
            index += length;
        }
        return index;
    }

    /// <summary>The length of <c>'s 't 're 've 'm 'll 'd</c> at an apostrophe, 0 if it is none of them.</summary>
    protected static int Contraction(ReadOnlySpan<char> text, int index, bool ignoreCase)
    {
        char Letter(ReadOnlySpan<char> text, int at)
        {
            if (at >= text.Length)
                return '\0';
            var letter = text[at];
            if (!ignoreCase)
                return letter;
            return letter == 'ſ' ? 's' : char.ToLowerInvariant(letter); // the long s folds to s
        }
        return Letter(text, index + 1) switch
        {
            's' or 't' or 'm' or 'd' => 2,
            'r' or 'v' when Letter(text, index + 2) == 'e' => 3,
            'l' when Letter(text, index + 2) == 'l' => 3,
            _ => 0,
        };
    }
}
