using System.Globalization;
using System.Text;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Rewrites text character by character.</summary>
internal abstract class CharacterNormalizer : Normalizer
{
    /// <inheritdoc/>
    public sealed override string Normalize(string text)
    {
        var result = new StringBuilder(text.Length);
        Span<char> units = stackalloc char[2];
        foreach (var rune in text.EnumerateRunes())
        {
            if (Map(rune) is { } single)
                result.Append(units[..single.EncodeToUtf16(units)]);
            else
                Write(rune, result);
        }
        return result.ToString();
    }

    /// <summary>What a character becomes; null if it becomes none or several, see <see cref="Write"/>.</summary>
    protected abstract Rune? Map(Rune rune);

    /// <summary>Writes what a character becomes that has no single one to become; nothing unless overridden.</summary>
    protected virtual void Write(Rune rune, StringBuilder result) { }
}

/// <summary>Makes letters small.</summary>
internal sealed class Lowercase : CharacterNormalizer
{
    private static readonly Rune DottedI = new('İ');

    /// <inheritdoc/>
    protected override Rune? Map(Rune rune) => rune == DottedI ? null : Rune.ToLowerInvariant(rune);

    /// <inheritdoc/>
    protected override void Write(Rune rune, StringBuilder result) => result.Append("i\u0307"); // the one letter that becomes two
}

/// <summary>Drops combining marks.</summary>
/// <param name="nonSpacingOnly">Whether only those that take no room.</param>
internal sealed class StripAccents(bool nonSpacingOnly) : CharacterNormalizer
{
    /// <inheritdoc/>
    protected override Rune? Map(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.NonSpacingMark => null,
        UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark when !nonSpacingOnly => null,
        _ => rune,
    };
}

/// <summary>Drops controls and makes unusual spaces usual, as translation models want it (<c>Nmt</c>).</summary>
internal sealed class TranslationSpaces : CharacterNormalizer
{
    /// <inheritdoc/>
    protected override Rune? Map(Rune rune) => rune.Value switch
    {
        (>= 0x01 and <= 0x08) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or 0x8F or 0x9F => null,
        '\t' or '\n' or '\f' or '\r' or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD => new Rune(' '),
        _ => rune,
    };
}

/// <summary>Drops controls, makes white space spaces (<c>clean_text</c> of BERT).</summary>
internal sealed class CleanText : CharacterNormalizer
{
    /// <inheritdoc/>
    protected override Rune? Map(Rune rune)
    {
        if (rune.Value is '\t' or '\n' or '\r')
            return new Rune(' ');
        if (rune.Value is 0 or 0xFFFD || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
            or UnicodeCategory.PrivateUse or UnicodeCategory.Surrogate or UnicodeCategory.OtherNotAssigned)
            return null;
        return Rune.IsWhiteSpace(rune) ? new Rune(' ') : rune;
    }
}

/// <summary>Puts spaces around Chinese characters (<c>handle_chinese_chars</c> of BERT).</summary>
internal sealed class SpacedIdeographs : CharacterNormalizer
{
    /// <inheritdoc/>
    protected override Rune? Map(Rune rune) => rune.Value is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF)
        or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F)
        ? null : rune;

    /// <inheritdoc/>
    protected override void Write(Rune rune, StringBuilder result) => result.Append(' ').Append(rune.ToString()).Append(' ');
}
