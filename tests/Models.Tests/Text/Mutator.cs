using System.Globalization;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Damages files: flips, drops, repeats and inserts bytes, numbers and pieces of syntax.</summary>
internal sealed class Mutator(Random random, string[] words)
{
    /// <summary>How many cases a fuzzing test runs: few unless XDS_FUZZ_CASES asks for more.</summary>
    public static int Cases => int.TryParse(Environment.GetEnvironmentVariable("XDS_FUZZ_CASES"), CultureInfo.InvariantCulture, out var cases) ? cases : 3000;

    /// <summary>A damaged copy.</summary>
    public byte[] Damage(ReadOnlySpan<byte> content)
    {
        var bytes = new List<byte>(content.Length + 64);
        bytes.AddRange(content);
        for (var hits = random.Next(1, 6); hits > 0 && bytes.Count > 0; hits--)
        {
            var at = random.Next(bytes.Count);
            var length = Math.Min(bytes.Count - at, 1 << random.Next(random.Next(10) + 1));
            switch (random.Next(9))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes.RemoveRange(at, length);
                    break;
                case 3: // a part twice
                    bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, length));
                    break;
                case 4: // a part elsewhere
                    var part = bytes.GetRange(at, length);
                    bytes.RemoveRange(at, length);
                    bytes.InsertRange(random.Next(bytes.Count + 1), part);
                    break;
                case 5:
                    if (random.Next(4) == 0)
                        bytes.RemoveRange(at, bytes.Count - at);
                    break;
                default:
                    bytes.InsertRange(at, System.Text.Encoding.UTF8.GetBytes(words[random.Next(words.Length)]));
                    break;
            }
        }
        return [.. bytes];
    }
}
