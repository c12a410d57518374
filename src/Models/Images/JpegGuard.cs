using System.Buffers.Binary;

namespace XDeepServe.Models.Images;

/// <summary>
/// Checks that a JPEG file is whole before it is decoded: every segment lies within the file, there is an end behind the scans, and
/// there are not too many of them. (The decoder does not come back from a header that is cut off.)
/// </summary>
internal static class JpegGuard
{
    private const int MostScans = 200; // of a progressive image: each is a pass over the whole of it
    private const byte End = 0xD9, Scan = 0xDA;

    /// <summary>Checks a file that begins with JPEG's signature.</summary>
    /// <exception cref="ImageException">It is damaged or has too many scans.</exception>
    public static void Check(ReadOnlySpan<byte> file)
    {
        int at = 2, scans = 0;
        while (true)
        {
            byte marker = Marker(file, ref at);
            if (marker == End)
            {
                if (scans == 0)
                    throw Damaged();
                return;
            }
            if (marker is 0x01 or (>= 0xD0 and <= 0xD8)) // without content
                continue;
            if (at + 2 > file.Length)
                throw Damaged();
            int length = BinaryPrimitives.ReadUInt16BigEndian(file[at..]);
            if (length < 2 || at + length > file.Length)
                throw Damaged();
            at += length;
            if (marker != Scan)
                continue;
            if (++scans > MostScans)
                throw new ImageException($"The JPEG image has more than {MostScans} scans. Save it again with an ordinary program.");
            SkipCompressed(file, ref at);
        }
    }

    private static byte Marker(ReadOnlySpan<byte> file, ref int at)
    {
        if (at >= file.Length || file[at] != 0xFF)
            throw Damaged();
        while (at < file.Length && file[at] == 0xFF)
            at++;
        return at < file.Length ? file[at++] : throw Damaged();
    }

    // Within compressed data a marker's first byte is followed by zero, or by a restart's number.
    private static void SkipCompressed(ReadOnlySpan<byte> file, ref int at)
    {
        for (; at + 1 < file.Length; at++)
            if (file[at] == 0xFF && file[at + 1] is not (0 or 0xFF or (>= 0xD0 and <= 0xD7)))
                return;
        throw Damaged();
    }

    private static ImageException Damaged() => new("The JPEG image is damaged or cut off: it cannot be decoded.");
}
