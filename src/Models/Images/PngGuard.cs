using System.Buffers.Binary;
using System.IO.Compression;

namespace XDeepServe.Models.Images;

/// <summary>Checks that a PNG file unpacks to no more than its dimensions call for, without keeping what is unpacked.</summary>
internal static class PngGuard
{
    private const int Signature = 8, ChunkHead = 8, ChunkTail = 4;

    /// <summary>Checks a file that begins with PNG's signature.</summary>
    /// <exception cref="ImageException">It is damaged or unpacks to more.</exception>
    public static void Check(byte[] file)
    {
        long most = 0;
        using MemoryStream packed = new();
        for (long at = Signature; at + ChunkHead + ChunkTail <= file.Length;)
        {
            int start = (int)at;
            uint length = BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(start));
            ReadOnlySpan<byte> kind = file.AsSpan(start + 4, 4);
            if (length > file.Length - at - ChunkHead - ChunkTail)
                throw Damaged();
            ReadOnlySpan<byte> content = file.AsSpan(start + ChunkHead, (int)length);
            if (kind.SequenceEqual("IHDR"u8))
                most = Unpacked(content);
            else if (kind.SequenceEqual("IDAT"u8))
                packed.Write(content);
            at += ChunkHead + length + ChunkTail;
        }
        packed.Position = 0;
        using ZLibStream unpacked = new(packed, CompressionMode.Decompress);
        byte[] buffer = new byte[1 << 16];
        long total = 0;
        try
        {
            for (int read; (read = unpacked.Read(buffer)) > 0;)
                if ((total += read) > most)
                    throw new ImageException("The PNG image unpacks to more than its dimensions call for. Save it again with an ordinary program.");
        }
        catch (InvalidDataException)
        {
            throw Damaged();
        }
    }

    /// <summary>Width and height as the file's first chunk tells them; null if it does not, or if they are none of PNG's.</summary>
    public static (int Width, int Height)? Size(ReadOnlySpan<byte> file)
    {
        if (file.Length < Signature + ChunkHead + 8 || !file.Slice(Signature + 4, 4).SequenceEqual("IHDR"u8))
            return null;
        int width = BinaryPrimitives.ReadInt32BigEndian(file[(Signature + ChunkHead)..]), height = BinaryPrimitives.ReadInt32BigEndian(file[(Signature + ChunkHead + 4)..]);
        return width > 0 && height > 0 ? (width, height) : null;
    }

    // Rows with their filter bytes; an interlaced image has up to two rows for one.
    private static long Unpacked(ReadOnlySpan<byte> header)
    {
        if (header.Length != 13)
            throw Damaged();
        long width = BinaryPrimitives.ReadUInt32BigEndian(header), height = BinaryPrimitives.ReadUInt32BigEndian(header[4..]);
        int channels = header[9] switch { 0 or 3 => 1, 2 => 3, 4 => 2, 6 => 4, _ => throw Damaged() };
        return height * ((width * channels * header[8] / 8) + 2) * (header[12] == 0 ? 1 : 2) + 64;
    }

    private static ImageException Damaged() => new("The PNG image is damaged: it cannot be decoded.");
}
