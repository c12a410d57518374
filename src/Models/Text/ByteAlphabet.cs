using System.Text;

namespace XDeepServe.Models.Text;

/// <summary>
/// GPT-2's printable alphabet: each of the 256 byte values is written as one character, so that tokens of raw bytes
/// can stand in a JSON file. Printable Latin-1 bytes stand for themselves, the others follow from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = MakeCharacters(); // [256] byte -> character
    private static readonly short[] Values = MakeValues();        // [324] character -> byte, or -1

    /// <summary>The character that stands for a byte.</summary>
    public static char ToCharacter(byte value) => Characters[value];

    /// <summary>Turns text in the alphabet, given as UTF-8, into the bytes it stands for.</summary>
    /// <param name="utf8">The text; every character of the alphabet takes one or two bytes.</param>
    /// <param name="bytes">Receives the bytes; at least as long as <paramref name="utf8"/>.</param>
    /// <param name="written">How many bytes were written.</param>
    /// <returns>False if a character is outside the alphabet.</returns>
    public static bool TryToBytes(ReadOnlySpan<byte> utf8, Span<byte> bytes, out int written)
    {
        written = 0;
        for (var i = 0; i < utf8.Length; i++)
        {
            int character = utf8[i];
            if (character >= 0x80)
            {
                if (character is < 0xC2 or > 0xC5 || i + 1 >= utf8.Length)
                    return false;
                character = ((character & 0x1F) << 6) | (utf8[++i] & 0x3F);
            }
            if (character >= Values.Length || Values[character] < 0)
                return false;
            bytes[written++] = (byte)Values[character];
        }
        return true;
    }

    /// <summary>Writes bytes in the alphabet.</summary>
    public static string ToText(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length);
        foreach (var value in bytes)
            text.Append(Characters[value]);
        return text.ToString();
    }

    private static char[] MakeCharacters()
    {
        var characters = new char[256];
        var next = 256;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE;
            characters[value] = (char)(printable ? value : next++);
        }
        return characters;
    }

    private static short[] MakeValues()
    {
        var values = new short[256 + 68];
        Array.Fill(values, (short)-1);
        for (var value = 0; value < 256; value++)
            values[Characters[value]] = (short)value;
        return values;
    }
}
