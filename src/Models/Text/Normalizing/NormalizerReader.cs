using System.Text.Json;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Reads the normalizers of a tokenizer.json.</summary>
internal static class NormalizerReader
{
    /// <summary>The normalizers, in order.</summary>
    /// <param name="part">The setting, null if absent.</param>
    public static IReadOnlyList<Normalizer> Read(JsonElement? part) => [.. Settings.Flatten(part, "normalizers").SelectMany(ReadOne)];

    private static IEnumerable<Normalizer> ReadOne(JsonElement setting)
    {
        switch (Settings.Kind(setting))
        {
            case "NFC": return [UnicodeForm.C];
            case "NFD": return [UnicodeForm.D];
            case "NFKC": return [UnicodeForm.KC];
            case "NFKD": return [UnicodeForm.KD];
            case "Lowercase": return [new Lowercase()];
            case "StripAccents": return [new StripAccents(nonSpacingOnly: false)];
            case "Strip": return [new Strip(Settings.Flag(setting, "strip_left", true), Settings.Flag(setting, "strip_right", true))];
            case "Prepend": return [new Prepend(Settings.Text(setting, "prepend"))];
            case "Replace": return [new Replacement(Pattern.Read(setting.GetProperty("pattern")), Settings.Text(setting, "content"))];
            case "Nmt": return [new TranslationSpaces()];
            case "Precompiled": return ReadCharsmap(setting);
            case "BertNormalizer": return ReadBert(setting);
            case "ByteLevel": return []; // the model reads bytes as they are
            default: throw Settings.Unsupported("normalizer", Settings.Kind(setting));
        }
    }

    private static Charsmap[] ReadCharsmap(JsonElement setting) =>
        setting.GetProperty("precompiled_charsmap") is { ValueKind: JsonValueKind.String } map ? [new Charsmap(map.GetBytesFromBase64())] : [];

    private static IEnumerable<Normalizer> ReadBert(JsonElement setting)
    {
        var lowercase = Settings.Flag(setting, "lowercase", true);
        var accents = setting.TryGetProperty("strip_accents", out var strip) && strip.ValueKind != JsonValueKind.Null ? strip.GetBoolean() : lowercase;
        if (Settings.Flag(setting, "clean_text", true))
            yield return new CleanText();
        if (Settings.Flag(setting, "handle_chinese_chars", true))
            yield return new SpacedIdeographs();
        if (accents)
        {
            yield return UnicodeForm.D;
            yield return new StripAccents(nonSpacingOnly: true);
        }
        if (lowercase)
            yield return new Lowercase();
    }
}
