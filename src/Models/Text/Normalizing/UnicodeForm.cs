using System.Runtime.InteropServices;
using System.Text;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>
/// Unicode's normalization forms. Written here because .NET normalizes nothing when it runs without culture data, as this
/// program does.
/// </summary>
/// <param name="compose">Whether characters are put together (C and KC) or taken apart (D and KD).</param>
/// <param name="compatible">Whether characters give way to those they are compatible with (KC and KD).</param>
internal sealed class UnicodeForm(bool compose, bool compatible) : Normalizer
{
    private const int SBase = 0xAC00, LBase = 0x1100, VBase = 0x1161, TBase = 0x11A7;
    private const int LCount = 19, VCount = 21, TCount = 28, SCount = LCount * VCount * TCount;

    /// <summary>Form C.</summary>
    public static UnicodeForm C { get; } = new(compose: true, compatible: false);

    /// <summary>Form D.</summary>
    public static UnicodeForm D { get; } = new(compose: false, compatible: false);

    /// <summary>Form KC.</summary>
    public static UnicodeForm KC { get; } = new(compose: true, compatible: true);

    /// <summary>Form KD.</summary>
    public static UnicodeForm KD { get; } = new(compose: false, compatible: true);

    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        // Nothing below U+0300 composes with or reorders anything; nothing below U+00A0 comes apart.
        if (text.AsSpan().IndexOfAnyExceptInRange('\0', compose && !compatible ? '\u02FF' : '\u009F') < 0)
            return text;
        var data = CanonicalData.Instance;
        if (compose && !compatible)
        {
            var stable = true;
            foreach (var rune in text.EnumerateRunes())
                stable &= !data.IsUnstable(rune.Value);
            if (stable)
                return text;
        }

        var characters = new List<int>(text.Length + 16);
        foreach (var rune in text.EnumerateRunes())
        {
            if (compatible && data.Compatible(rune.Value) is { } others)
                characters.AddRange(others);
            else
                Decompose(data, rune.Value, characters);
        }
        Order(data, characters);
        if (compose)
            Compose(data, characters);

        var result = new StringBuilder(characters.Count);
        Span<char> units = stackalloc char[2];
        foreach (var character in characters)
            result.Append(units[..new Rune(character).EncodeToUtf16(units)]);
        return result.ToString();
    }

    private static void Decompose(CanonicalData data, int character, List<int> output)
    {
        if (character - SBase is >= 0 and < SCount and var syllable)
        {
            output.Add(LBase + syllable / (VCount * TCount));
            output.Add(VBase + syllable % (VCount * TCount) / TCount);
            if (syllable % TCount != 0)
                output.Add(TBase + syllable % TCount);
        }
        else if (data.TryDecompose(character, out var first, out var second))
        {
            Decompose(data, first, output);
            if (second != 0)
                Decompose(data, second, output);
        }
        else
        {
            output.Add(character);
        }
    }

    /// <summary>Sorts every run of combining marks by class, equals in their order.</summary>
    private static void Order(CanonicalData data, List<int> characters)
    {
        for (var start = 0; start < characters.Count; start++)
        {
            var end = start;
            while (end < characters.Count && data.Class(characters[end]) != 0)
                end++;
            if (end - start > 1)
            {
                var run = CollectionsMarshal.AsSpan(characters)[start..end];
                var keys = new long[run.Length];
                for (var i = 0; i < run.Length; i++)
                    keys[i] = ((long)data.Class(run[i]) << 32) | (uint)i;
                MemoryExtensions.Sort(keys.AsSpan(), run);
            }
            start = end;
        }
    }

    private static void Compose(CanonicalData data, List<int> characters)
    {
        var written = 0;
        var starter = -1;   // where the last starter was written
        var lastClass = -1; // the class of the last character kept after the starter; -1: none was
        for (var read = 0; read < characters.Count; read++)
        {
            var character = characters[read]; // written never passes read
            int combiningClass = data.Class(character);
            if (starter >= 0 && lastClass < combiningClass && Pair(data, characters[starter], character) is > 0 and var composite)
            {
                characters[starter] = composite;
                continue;
            }
            if (combiningClass == 0)
                (starter, lastClass) = (written, -1);
            else
                lastClass = combiningClass;
            characters[written++] = character;
        }
        characters.RemoveRange(written, characters.Count - written);
    }

    private static int Pair(CanonicalData data, int first, int second)
    {
        if (first - LBase is >= 0 and < LCount and var l && second - VBase is >= 0 and < VCount and var v)
            return SBase + (l * VCount + v) * TCount;
        if (first - SBase is >= 0 and < SCount and var s && s % TCount == 0 && second - TBase is > 0 and < TCount and var t)
            return first + t;
        return data.Compose(first, second);
    }
}
