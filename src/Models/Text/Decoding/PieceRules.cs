using System.Text.Json;
using XDeepServe.Models.Text.Normalizing;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text.Decoding;

/// <summary>How the tokens of a vocabulary in plain text become text, in this order.</summary>
/// <param name="Tokens">Steps on each token.</param>
/// <param name="ByteFallback">Whether runs of tokens like <c>&lt;0x0A&gt;</c> then become characters.</param>
/// <param name="Pieces">Steps on each token or run behind that.</param>
/// <param name="Characters">Characters replaced in the whole text.</param>
/// <param name="Ends">What is taken from the ends of the whole text; null: nothing.</param>
internal sealed record PieceRules(
    IReadOnlyList<PieceStep> Tokens, bool ByteFallback, IReadOnlyList<PieceStep> Pieces, IReadOnlyList<(char Old, string New)> Characters, StripStep? Ends)
{
    /// <summary>The rules of SentencePiece models: marks become spaces, and the space that was put before a text goes.</summary>
    /// <param name="leadingSpace">Whether one was put there.</param>
    public static PieceRules SentencePiece(bool leadingSpace) =>
        new([new MarkStep('\u2581', dropFirst: false)], ByteFallback: true, [], [], leadingSpace ? new StripStep(' ', 1, 0) : null);

    /// <summary>Reads the decoder of a tokenizer.json whose vocabulary is plain text.</summary>
    /// <param name="part">The setting, null if absent.</param>
    public static PieceRules Read(JsonElement? part)
    {
        var (tokens, pieces, characters) = (new List<PieceStep>(), new List<PieceStep>(), new List<(char, string)>());
        StripStep? ends = null;
        var (fallback, fused) = (false, false);
        if (part is null)
            tokens.Add(new JoinStep());
        foreach (var setting in Settings.Flatten(part, "decoders"))
        {
            var steps = fallback ? pieces : tokens;
            switch (Settings.Kind(setting))
            {
                case "ByteFallback" when !fallback && !fused:
                    fallback = true;
                    break;
                case "Fuse":
                    fused = true;
                    break;
                case "Replace" when !fused:
                    steps.Add(new ReplaceStep(new Replacement(Pattern.Read(setting.GetProperty("pattern")), Settings.Text(setting, "content"))));
                    break;
                case "Replace" when ends is null && Pattern.Read(setting.GetProperty("pattern")) is LiteralPattern { Text.Length: 1 } literal:
                    characters.Add((literal.Text[0], Settings.Text(setting, "content")));
                    break;
                case "Strip" when !fused:
                    steps.Add(ReadStrip(setting));
                    break;
                case "Strip" when ends is null:
                    ends = ReadStrip(setting);
                    break;
                case "Metaspace" when !fused:
                    steps.Add(new MarkStep(Settings.Character(setting, "replacement"), PreTokenizerReader.MarkStart(setting) != MarkStart.Never));
                    break;
                default:
                    throw Settings.Unsupported(fused || fallback ? "order of decoders with" : "decoder", Settings.Kind(setting));
            }
        }
        return new(tokens, fallback, pieces, characters, ends);
    }

    /// <summary>Refuses decoders that a byte-level model does not go with.</summary>
    public static void CheckByteLevel(JsonElement? part)
    {
        foreach (var setting in Settings.Flatten(part, "decoders"))
            if (Settings.Kind(setting) is not ("ByteLevel" or "Fuse"))
                throw Settings.Unsupported("decoder of a byte-level model", Settings.Kind(setting));
    }

    private static StripStep ReadStrip(JsonElement setting) =>
        new(Settings.Character(setting, "content"), setting.GetProperty("start").GetInt32(), setting.GetProperty("stop").GetInt32());
}
