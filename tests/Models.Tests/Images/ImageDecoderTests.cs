using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using System.Text.Json.Nodes;
using XDeepServe.Models.Images;

namespace XDeepServe.Models.Tests.Images;

/// <summary>Images that nobody vouches for.</summary>
public class ImageDecoderTests
{
    [Fact]
    public void Other_formats_and_damage_are_refused()
    {
        Refused([]);
        Refused("GIF89a"u8.ToArray());
        Refused(new byte[5000]);
        Refused([0xFF, 0xD8, 0xFF, 0xE0]);
        byte[] file = Files()[0];
        for (int length = 0; length < file.Length - 20; length += 31)
            Refused(file[..length]);
    }

    [Fact]
    public void Dimensions_are_not_trusted()
    {
        Assert.Contains("pixels", Refused(Png(10_000, 10_000, new byte[10])), StringComparison.Ordinal);
        Refused(Png(int.MaxValue, int.MaxValue, new byte[10]));
        Refused(Png(0, 5, new byte[10]));
    }

    [Fact]
    public void A_file_that_unpacks_to_more_than_it_should_is_refused() =>
        Assert.Contains("unpacks to more", Refused(Png(4, 4, new byte[200 << 20])), StringComparison.Ordinal);

    [Fact]
    public void A_picture_of_few_pixels_may_be_of_any_shape()
    {
        RgbImage image = ImageDecoder.Decode(Png(30_000, 1, new byte[90_001]));
        Assert.Equal((30_000, 1, 90_000), (image.Width, image.Height, image.Pixels.Length));
    }

    [Fact]
    public void Changed_bytes_lead_to_a_picture_or_a_refusal()
    {
        Random random = new(1);
        int refused = 0;
        foreach (byte[] file in Files())
        {
            for (int round = 0; round < 1500; round++)
            {
                byte[] changed = [.. file];
                for (int i = random.Next(1, 8); i > 0; i--)
                    changed[random.Next(changed.Length)] = (byte)random.Next(256);
                try
                {
                    RgbImage image = ImageDecoder.Decode(changed);
                    Assert.Equal(3L * image.Width * image.Height, image.Pixels.Length);
                }
                catch (ImageException)
                {
                    refused++;
                }
            }
        }
        Assert.True(refused > 1000);
    }

    private static byte[][] Files() =>
        [.. JsonNode.Parse(File.ReadAllText(Path.Combine(Places.Golden("images"), "cases.json")))!["cases"]!.AsArray()
            .Where(item => (string)item!["name"]! is "grown" or "palette" or "photo").Select(item => Convert.FromBase64String((string)item!["file"]!))];

    private static string Refused(byte[] file) => Assert.Throws<ImageException>(() => ImageDecoder.Decode(file)).Message;

    /// <summary>A PNG of 8-bit red, green and blue with this unpacked content.</summary>
    private static byte[] Png(int width, int height, byte[] content)
    {
        using MemoryStream file = new();
        file.Write([0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10]);
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = (8, 2);
        using MemoryStream packed = new();
        using (ZLibStream zlib = new(packed, CompressionLevel.Fastest, leaveOpen: true))
            zlib.Write(content);
        Chunk(file, "IHDR"u8, header);
        Chunk(file, "IDAT"u8, packed.ToArray());
        Chunk(file, "IEND"u8, []);
        return file.ToArray();
    }

    private static void Chunk(MemoryStream file, ReadOnlySpan<byte> kind, ReadOnlySpan<byte> content)
    {
        byte[] body = [.. kind, .. content];
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, content.Length);
        file.Write(number);
        file.Write(body);
        BinaryPrimitives.WriteUInt32BigEndian(number, Crc32.HashToUInt32(body));
        file.Write(number);
    }
}
