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
        Assert.Contains("empty", Refused([]), StringComparison.Ordinal);
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
        Assert.Contains("pixels", Refused(Png(int.MaxValue, int.MaxValue, new byte[10])), StringComparison.Ordinal);
        Assert.Contains("pixels", Refused(Png(100_000, 100_000, new byte[10])), StringComparison.Ordinal);
        Assert.Contains("a side", Refused(Png(1 << 25, 1, new byte[10])), StringComparison.Ordinal);
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
        foreach (byte[] file in Files().Append(Inks(200, 100, 50, 25)))
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

    [Fact]
    public void Sixteen_bits_become_eight_and_transparency_is_left_out()
    {
        // Rows begin with their filter, which is none.
        byte[] deep = [0, 200, 17, 100, 99, 50, 1, 0, 255, 255, 128, 7, 64, 3, 32, 200];
        Assert.Equal([200, 100, 50, 0, 255, 128], ImageDecoder.Decode(Png(2, 1, [0, 200, 17, 100, 99, 50, 1, 0, 9, 255, 7, 128, 64], depth: 16)).Pixels);
        Assert.Equal([200, 100, 50], ImageDecoder.Decode(Png(1, 1, [0, 200, 17, 100, 99, 50, 1, 0, 0], depth: 16, colour: 6)).Pixels);
        Assert.Equal([9, 8, 7, 6, 5, 4], ImageDecoder.Decode(Png(2, 1, [0, 9, 8, 7, 0, 6, 5, 4, 255], colour: 6)).Pixels);
        Assert.Equal([9, 9, 9, 8, 8, 8], ImageDecoder.Decode(Png(2, 1, [0, 9, 0, 8, 255], colour: 4)).Pixels);
        Assert.Equal([77, 77, 77], ImageDecoder.Decode(Png(1, 1, [0, 77], colour: 0)).Pixels);
        Refused(Png(2, 1, deep, depth: 16, colour: 3)); // palettes have at most eight bits
        Refused(Png(2, 1, deep, depth: 5));
    }

    [Fact]
    public void Four_inks_become_three_colours()
    {
        // Adobe's files hold the inks upside down: 255 is none of it.
        RgbImage image = ImageDecoder.Decode(Inks(cyan: 200, magenta: 100, yellow: 255, black: 255));
        Assert.Equal((8, 8), (image.Width, image.Height));
        Assert.All(Enumerable.Range(0, 64), i => Assert.Equal([200, 100, 255], image.Pixels[(3 * i)..(3 * i + 3)]));
        Assert.All(ImageDecoder.Decode(Inks(cyan: 200, magenta: 100, yellow: 255, black: 0)).Pixels, value => Assert.Equal(0, value));
        byte[] file = Inks(1, 2, 3, 4); // a header that is cut off once kept the decoder busy for ever
        for (int length = 0; length < file.Length; length++)
            Refused(file[..length]);
    }

    private static byte[][] Files() =>
        [.. JsonNode.Parse(File.ReadAllText(Path.Combine(Places.Golden("images"), "cases.json")))!["cases"]!.AsArray()
            .Where(item => (string)item!["name"]! is "grown" or "palette" or "photo").Select(item => Convert.FromBase64String((string)item!["file"]!))];

    private static string Refused(byte[] file) => Assert.Throws<ImageException>(() => ImageDecoder.Decode(file)).Message;

    /// <summary>A baseline JPEG of one block in which each ink has one value.</summary>
    private static byte[] Inks(byte cyan, byte magenta, byte yellow, byte black)
    {
        using MemoryStream file = new();
        file.Write([0xFF, 0xD8]);
        Segment(0xEE, [.. "Adobe"u8, 0, 100, 0, 0, 0, 0, 0]);                                      // the inks as they are
        Segment(0xDB, [0, 8, .. Enumerable.Repeat((byte)1, 63)]);                                 // a block's mean, times 8
        Segment(0xC0, [8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]);
        Segment(0xC4, [0x00, 0, 0, 0, 12, .. new byte[12], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]); // twelve codes of four bits
        Segment(0xC4, [0x10, 1, .. new byte[15], 0]);                                              // one of one bit: end of block
        Segment(0xDA, [4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
        string bits = "";
        foreach (byte ink in (byte[])[cyan, magenta, yellow, black])
        {
            int value = ink - 128, size = value == 0 ? 0 : 32 - int.LeadingZeroCount(Math.Abs(value));
            string digits = size == 0 ? "" : Convert.ToString(value > 0 ? value : value + (1 << size) - 1, 2).PadLeft(size, '0');
            bits += Convert.ToString(size, 2).PadLeft(4, '0') + digits + "0";
        }
        bits = bits.PadRight((bits.Length + 7) / 8 * 8, '1');
        for (int at = 0; at < bits.Length; at += 8)
        {
            byte value = Convert.ToByte(bits.Substring(at, 8), 2);
            file.WriteByte(value);
            if (value == 0xFF)
                file.WriteByte(0);
        }
        file.Write([0xFF, 0xD9]);
        return file.ToArray();

        void Segment(byte marker, byte[] content)
        {
            file.Write([0xFF, marker, (byte)((content.Length + 2) >> 8), (byte)(content.Length + 2)]);
            file.Write(content);
        }
    }

    /// <summary>A PNG with this unpacked content.</summary>
    private static byte[] Png(int width, int height, byte[] content, byte depth = 8, byte colour = 2)
    {
        using MemoryStream file = new();
        file.Write([0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10]);
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = (depth, colour);
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
