using System.Collections;
using System.Globalization;

namespace XDeepServe.Models.Text.Normalizing;

/// <summary>Unicode's decompositions, compositions and combining classes, read from resources when first needed.</summary>
internal sealed class CanonicalData
{
    private readonly Dictionary<int, (int First, int Second)> decompositions = new(2100); // Second 0: a single character
    private readonly Dictionary<(int, int), int> compositions = new(1000);
    private readonly Dictionary<int, byte> classes = new(1000);
    private readonly Lazy<Dictionary<int, int[]>> compatible = new(ReadCompatible);
    private readonly BitArray unstable = new(0x110000); // may change under NFC, or make its neighbours change

    private CanonicalData()
    {
        foreach (var entry in Entries("canonical.txt"))
            Add(entry);
        for (var jamo = 0x1161; jamo <= 0x11C2; jamo++)
            unstable.Set(jamo, jamo is <= 0x1175 or >= 0x11A8);
    }

    /// <summary>The data.</summary>
    public static CanonicalData Instance => Holder.Data;

    /// <summary>Whether a character may change, or change its neighbours, under NFC.</summary>
    public bool IsUnstable(int character) => unstable[character];

    /// <summary>The canonical combining class; 0 for characters that stand alone.</summary>
    public byte Class(int character) => classes.GetValueOrDefault(character);

    /// <summary>The decomposition of a character by one step.</summary>
    public bool TryDecompose(int character, out int first, out int second)
    {
        var found = decompositions.TryGetValue(character, out var parts);
        (first, second) = parts;
        return found;
    }

    /// <summary>What two characters compose to, 0 if they do not.</summary>
    public int Compose(int first, int second) => compositions.GetValueOrDefault((first, second));

    /// <summary>What a character is taken apart to in forms KC and KD, wholly; null if that is its canonical decomposition.</summary>
    public int[]? Compatible(int character) => compatible.Value.GetValueOrDefault(character);

    private static IEnumerable<string> Entries(string resource)
    {
        using var stream = typeof(CanonicalData).Assembly.GetManifestResourceStream(resource)!;
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
            if (line[0] != '#')
                foreach (var entry in line.Split(' '))
                    yield return entry;
    }

    /// <summary>Entries are CODE=CODES with + between, or FIRST-LAST=CODE for neighbours that go to neighbours.</summary>
    private static Dictionary<int, int[]> ReadCompatible()
    {
        var mappings = new Dictionary<int, int[]>(4000);
        foreach (var entry in Entries("compatible.txt"))
        {
            var separator = entry.IndexOf('=', StringComparison.Ordinal);
            var head = entry.AsSpan(0, separator);
            int[] targets = [.. entry[(separator + 1)..].Split('+').Select(code => Hex(code))];
            var dash = head.IndexOf('-');
            var first = Hex(dash < 0 ? head : head[..dash]);
            var last = dash < 0 ? first : Hex(head[(dash + 1)..]);
            for (var character = first; character <= last; character++)
                mappings[character] = dash < 0 ? targets : [targets[0] + character - first];
        }
        return mappings;
    }

    private void Add(string entry)
    {
        var excluded = entry[0] == '!';
        var separator = entry.IndexOfAny(['=', ':']);
        var head = entry.AsSpan(excluded ? 1 : 0, separator - (excluded ? 1 : 0));
        var tail = entry.AsSpan(separator + 1);
        if (entry[separator] == ':')
        {
            var dash = head.IndexOf('-');
            var first = Hex(dash < 0 ? head : head[..dash]);
            var last = Hex(dash < 0 ? head : head[(dash + 1)..]);
            for (var character = first; character <= last; character++)
            {
                classes[character] = byte.Parse(tail, CultureInfo.InvariantCulture);
                unstable.Set(character, true);
            }
            return;
        }
        var plus = tail.IndexOf('+');
        var (a, b) = plus < 0 ? (Hex(tail), 0) : (Hex(tail[..plus]), Hex(tail[(plus + 1)..]));
        decompositions[Hex(head)] = (a, b);
        if (excluded)
        {
            unstable.Set(Hex(head), true);
            return;
        }
        compositions[(a, b)] = Hex(head);
        unstable.Set(b, true);
    }

    private static int Hex(ReadOnlySpan<char> text) => int.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    /// <summary>Reads the data when a text first needs it, not at start.</summary>
    private static class Holder
    {
        public static readonly CanonicalData Data = new();
    }
}
