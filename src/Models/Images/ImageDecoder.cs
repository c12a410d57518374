using StbImageSharp;

namespace XDeepServe.Models.Images;

/// <summary>Decodes PNG and JPEG files that nobody vouches for: memory and time are bounded before anything is unpacked.</summary>
public static class ImageDecoder
{
    /// <summary>Most pixels of an image.</summary>
    public const int MostPixels = 1 << 25;

    private const int MostSide = 1 << 16; // of JPEG, too
    private const int LargePixels = 1 << 22; // decoding takes up to 20 bytes for each: larger images are decoded one at a time
    private static readonly Lock Large = new();

    /// <summary>Decodes an image; transparency is left out, 16 bits become 8, grey and four inks become red, green and blue.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <exception cref="ImageException">Another format, too large, or damaged.</exception>
    public static RgbImage Decode(byte[] file)
    {
        if (file.Length == 0)
            throw new ImageException("The image is empty: it has 0 bytes.");
        bool png = file.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10]);
        bool jpeg = file.AsSpan().StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]);
        if (!png && !jpeg)
            throw new ImageException("The image is neither PNG nor JPEG; send it as one of these.");
        if (jpeg)
            JpegGuard.Check(file);
        else if (PngGuard.Size(file) is { } size)
            CheckSize(size.Width, size.Height); // the decoder knows nothing of sizes that it does not take itself
        using MemoryStream stream = new(file, writable: false);
        if (Try(() => ImageInfo.FromStream(stream)) is not { } info || info.Width < 1 || info.Height < 1)
            throw Damaged();
        CheckSize(info.Width, info.Height);
        if (info.Width * info.Height <= LargePixels)
            return Unpack(file, png);
        lock (Large)
            return Unpack(file, png);
    }

    private static RgbImage Unpack(byte[] file, bool png)
    {
        if (png)
            PngGuard.Check(file);
        ImageResult? image = Try(() => ImageResult.FromMemory(file, ColorComponents.RedGreenBlue));
        if (image is null || image.Data.Length != 3L * image.Width * image.Height)
            throw Damaged();
        return new RgbImage(image.Width, image.Height, image.Data);
    }

    private static void CheckSize(long width, long height)
    {
        if (width * height > MostPixels || Math.Max(width, height) > MostSide)
            throw new ImageException($"The image has {width} x {height} pixels; at most {MostPixels} can be taken, and {MostSide} a side. Send a smaller one.");
    }

    private static ImageException Damaged() => new("The image is damaged: it cannot be decoded.");

    private static T? Try<T>(Func<T> decode)
    {
        try
        {
            return decode();
        }
        // The decoder tells damage by whatever exception its translated code runs into.
        catch (Exception failure) when (failure is InvalidOperationException or IndexOutOfRangeException or ArgumentException or NullReferenceException or OverflowException or IOException)
        {
            return default;
        }
    }
}
