using System.Buffers.Binary;

namespace XDeepServe.Models.Tests.Loading;

/// <summary>Damages valid files in the ways that break readers: lengths, offsets, counts, text, cuts.</summary>
internal sealed class ByteMutator(byte[] valid, int header, int seed)
{
    private static readonly long[] Extremes =
    [
        0, 1, -1, 2, 7, 32, 255, 256, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, 1L << 40, 1L << 60, 1L << 61, 1L << 62,
        long.MaxValue, long.MinValue, long.MaxValue - 31,
    ];

    private readonly Random random = new(seed);

    /// <summary>The next damaged file: one to four changes, most of them in the header.</summary>
    public byte[] Next()
    {
        List<byte> bytes = [.. valid];
        for (int changes = random.Next(1, 5); changes > 0 && bytes.Count > 0; changes--)
            Change(bytes);
        return [.. bytes];
    }

    private void Change(List<byte> bytes)
    {
        int at = random.Next(Math.Min(bytes.Count, random.Next(10) == 0 ? bytes.Count : header));
        switch (random.Next(9))
        {
            case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 1: bytes[at] = (byte)random.Next(256); break;
            case 2: bytes[at] = (byte)"0123456789[]{}\",:-.eE "[random.Next(22)]; break;
            case 3 or 4:
                Span<byte> number = stackalloc byte[8];
                BinaryPrimitives.WriteInt64LittleEndian(number, Extremes[random.Next(Extremes.Length)]);
                for (int i = 0; i < (random.Next(2) == 0 ? 4 : 8) && at + i < bytes.Count; i++)
                    bytes[at + i] = number[i];
                break;
            case 5: bytes.RemoveRange(at, Math.Min(random.Next(1, 40), bytes.Count - at)); break;
            case 6: bytes.InsertRange(at, bytes.Slice(at, Math.Min(random.Next(1, 200), bytes.Count - at))); break;
            case 7: bytes.InsertRange(at, Enumerable.Repeat((byte)"9[{\"0"[random.Next(5)], random.Next(1, 300))); break;
            default: bytes.RemoveRange(at, bytes.Count - at); break;
        }
    }
}
