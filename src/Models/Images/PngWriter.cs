using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;

namespace XDeepServe.Models.Images;

/// <summary>Writes images as PNG files: 8 bits, red, green and blue, rows unfiltered.</summary>
public static class PngWriter
{
    /// <summary>The file's bytes; the same for the same pixels.</summary>
    public static byte[] Encode(RgbImage image)
    {
        using MemoryStream file = new();
        file.Write([0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10]);
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, image.Width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), image.Height);
        (header[8], header[9]) = (8, 2);
        Chunk(file, "IHDR"u8, header);
        using MemoryStream packed = new();
        using (ZLibStream zlib = new(packed, CompressionLevel.Optimal, leaveOpen: true))
            for (int row = 0; row < image.Height; row++)
            {
                zlib.WriteByte(0); // filter: none
                zlib.Write(image.Pixels.AsSpan(row * image.Width * 3, image.Width * 3));
            }
        Chunk(file, "IDAT"u8, packed.GetBuffer().AsSpan(0, (int)packed.Length));
        Chunk(file, "IEND"u8, []);
        return file.ToArray();
    }

    private static void Chunk(MemoryStream file, ReadOnlySpan<byte> kind, ReadOnlySpan<byte> content)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, content.Length);
        file.Write(number);
        Crc32 sum = new();
        sum.Append(kind);
        sum.Append(content);
        file.Write(kind);
        file.Write(content);
        BinaryPrimitives.WriteUInt32BigEndian(number, sum.GetCurrentHashAsUInt32());
        file.Write(number);
    }
}
